"""One small real run of two stages, trained once, and a way to train others."""

import pytest

from mmrun import compose
from mmrun.run.opening import reopen
from mmrun.run.pipeline import run
from mmrun.training.callback import NullCallback
from tests.end_to_end.conftest import shell as shell

SMALL = [
    *("modalities=[image,text]", "encoder.image=lenet", "encoder.text=textcnn"),
    *("encoder.text.preprocess.max_tokens=8", "encoder.text.channels=16"),
]


def train(folder, *overrides):
    """Train a run and open it again."""
    config = compose.load([*overrides, f"outputs={folder}/outputs", f"cache={folder}/cache", "trainer.progress=false"])
    return reopen(run(config, NullCallback()), NullCallback())


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="session")
def session(folder):
    return train(folder, *SMALL, "strategy=component", "budget.epochs=1", "trainer.eval_batch_size=64")
