import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.run import init_from
from mmrun.run.build import build_model, open_data
from mmrun.run.pipeline import run
from mmrun.training.callback import NullCallback


@pytest.fixture
def finished(load):
    return run(load(), NullCallback())


def test_an_encoder_starts_from_another_run(load, finished):
    config = load(f"encoder.a.init={finished.path}:encoder.a", "seed=1")
    encoder = build_model(config, open_data(config)).encoder["a"]
    weights = init_from.final_weights(*init_from.open_config(str(finished.path), "encoder.a.init"))
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, weights[f"encoder.a.{name}"])


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("nosuch", "encoder.a.init: 'nosuch' names no part of a run; write RUN:encoder.image"),
        ("{run}:encoder.z", r"encoder.a.init: .* has no part 'encoder.z' \(it has encoder.a, encoder.b, "),
        ("{run}:fusion", "encoder.a.init: the weights of fusion do not fit this encoder: "),
    ],
)
def test_a_part_that_does_not_exist_or_fit_is_rejected(load, finished, init, message):
    config = load(f"encoder.a.init={init.format(run=finished.path)}")
    with pytest.raises(ConfigError, match=f"^{message}"):
        build_model(config, open_data(config))


def test_a_run_that_is_not_finished_is_rejected(open_run):
    folder = open_run().folder
    with pytest.raises(ConfigError, match=f"^encoder.a.init: {folder.path} is not finished; mmrun resume"):
        init_from.open_config(str(folder.path), "encoder.a.init")
