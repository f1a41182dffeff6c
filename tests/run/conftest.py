"""Tiny runs on synthetic data: opened in a tenth of a second, trained in another."""

import functools

import pytest

from mmrun import compose
from mmrun.results.folder import RunFolder
from mmrun.run.accelerator import build_accelerator
from mmrun.run.opening import open_session
from mmrun.run.pipeline import run
from mmrun.training.callback import NullCallback

TINY = [
    *("dataset=synthetic", "dataset.num_rows=60", "modalities=[a,b]", "encoder.a.dims=[8]", "encoder.b.dims=[8]"),
    *("fusion.dim=4", "budget.steps=6", "trainer.batch_size=16", "trainer.progress=false"),
]


@pytest.fixture
def load(tmp_path):
    """Compose a tiny run with further overrides."""

    def load_tiny(*overrides):
        return compose.load([*TINY, f"outputs={tmp_path}/outputs", f"cache={tmp_path}/cache", *overrides])

    return load_tiny


@pytest.fixture(scope="session")
def train_once(tmp_path_factory):
    """Return a function that trains a tiny run with further overrides, once; tests leave its folder as it is."""
    folder = tmp_path_factory.mktemp("tiny_runs")

    @functools.cache
    def train(*overrides):
        config = compose.load([*TINY, f"outputs={folder}/outputs", f"cache={folder}/cache", *overrides])
        return run(config, NullCallback())

    return train


@pytest.fixture
def open_run(load, tmp_path):
    """Open a tiny run to train it."""

    def open_tiny(*overrides, name="run", callback=None):
        config = load(*overrides)
        folder = RunFolder(tmp_path / name)
        folder.create(compose.as_dict(config), [], {})
        return open_session(config, folder, callback or NullCallback(), build_accelerator(config))

    return open_tiny
