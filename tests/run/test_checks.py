"""What a run checks before anything is decoded."""

import pytest

from mmrun import compose
from mmrun.errors import ConfigError
from mmrun.run import checks, data
from mmrun.run.build import build_model
from mmrun.run.checks import check, check_sweep
from mmrun.run.data import open_data

BYOL = [
    *("modalities=[image]", "encoder.image=lenet", "strategy=component"),
    "pretext/image@strategy.stages.pretrain.objective.by_kind.image=byol",
]


@pytest.mark.parametrize(("more", "warned"), [([], True), (["strategy.stages.pretrain.keep=last"], False)])
def test_the_lowest_loss_of_a_moving_target_is_warned_of(more, warned):
    lines = check(compose.load([*BYOL, *more]))
    warning = (
        "warning: pretrain-image: the target of Byol moves, so its losses at different steps cannot be compared; add "
        "strategy.stages.pretrain.keep=last"
    )
    assert (warning in lines) is warned


TWO = ["dataset=synthetic", "modalities=[a,b]", "encoder.a.dims=[16]", "encoder.b.dims=[16]", "fusion.dim=4"]
ADAPTED = "strategy.adapt_modalities names the encoders to adapt; the others are trained whole"


@pytest.mark.parametrize(
    ("more", "warnings"),
    [
        (["strategy=scratch"], []),
        (
            ["strategy=frozen", "strategy.stages.train.train=[encoder.b,fusion,head]"],
            ["encoder.a starts from random weights, and 0% of them are trained; "
             "encoder.a in the train list of a stage trains it"],
        ),
        (
            ["strategy=lora", "strategy.adapt.rank=1", "strategy.adapt_modalities=[a]"],
            [f"encoder.a starts from random weights, and 9% of them are trained; {ADAPTED}"],
        ),
    ],
)  # fmt: skip
def test_encoders_that_keep_their_random_weights_are_warned_of(more, warnings):
    lines = [line for line in check(compose.load([*TWO, *more])) if "random weights" in line]
    assert lines == [f"warning: {warning}" for warning in warnings]


def load_sweep(*overrides):
    overrides = ["modalities=[image]", "encoder.image=lenet", *overrides]
    return [compose.load(run) for run in compose.expand_sweep(overrides)]


def test_a_sweep_is_checked_once_per_configuration_and_opens_its_data_once(monkeypatch):
    opened, built = [], []
    monkeypatch.setattr(data, "open_data", lambda config: opened.append(config) or open_data(config))
    monkeypatch.setattr(checks, "build_model", lambda *parts: built.append(parts) or build_model(*parts))
    words = ["seed=range(3)", "optimizer.lr=1e-3,1e-2", "budget.epochs=1,2", "fusion.dim=8,16"]
    notes = check_sweep(load_sweep(*words, "dataset.labelled=0.5,1"))
    assert (len(opened), len(built)) == (2, 4)
    assert notes == ["note: image: 28 x 28 pixels, 1 channel"]


def test_each_run_of_a_sweep_is_checked():
    with pytest.raises(ConfigError, match=r"^strategy.stages.train.train: 'hed' matches no parameter "):
        check_sweep(load_sweep("seed=0,1", "strategy.stages.train.train=[fusion,head],[hed]"))
