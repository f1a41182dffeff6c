"""What `scripts/gpu-check` tries on one GPU. Without one all skips; --tiny rehearses on a CPU what can run there."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from mmrun import compose
from mmrun.results.folder import RunFolder
from mmrun.run import pipeline
from mmrun.training.callback import NullCallback

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # a test may use the GPU before its first run does

MODEL = [
    *("modalities=[image,audio,text]", "encoder.image=lenet", "encoder.audio=logmel_cnn", "encoder.text=transformer"),
    "encoder.text.dropout=0",
]
RESNET = ["modalities=[image]", "encoder.image=resnet18", "encoder.image.pretrained=false"]
RUN = [
    *("budget.steps=20", "trainer.evaluate_every=100", "trainer.progress=false"),
    "strategy.stages.train.monitor=loss",  # val/loss is then in the log
]


def pytest_addoption(parser):
    parser.addoption("--tiny", action="store_true", help="rehearse the tests of tests/gpu on a CPU")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(autouse=True)
def device(request):
    """The GPU, or with --tiny a CPU, where the test does not need more."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.device("cuda")
    if not request.config.getoption("--tiny", default=False):
        pytest.skip("needs a GPU (scripts/gpu-check --tiny rehearses on a CPU)")
    if request.node.get_closest_marker("gpu_alone"):
        pytest.skip("cannot be rehearsed on a CPU")
    return torch.device("cpu")


class Messages(NullCallback):
    def __init__(self):
        self.messages = []

    def on_message(self, text):
        self.messages.append(text)


class Trained(NamedTuple):
    folder: Path
    messages: list[str]

    @property
    def losses(self):
        """Of the last evaluation, over training and validation rows."""
        events = map(json.loads, (self.folder / "log.jsonl").read_text().splitlines())
        [*_, last] = (event for event in events if event["event"] == "evaluated")
        return [last["train/loss"], last["val/loss"]]

    @property
    def stage(self):
        return json.loads((self.folder / "metrics.json").read_text())["cost"]["stages"]["train"]

    @property
    def weights(self):
        return (self.folder / "checkpoints/train/last/model.safetensors").read_bytes()


@pytest.fixture
def train(tmp_path):
    """Return a function that trains a small run, and returns its folder and messages."""

    def train_small(*overrides, name="run", model=MODEL):
        messages = Messages()
        files = [f"outputs={tmp_path}/outputs", f"cache={tmp_path}/cache"]
        config = compose.load([*model, *RUN, *overrides, *files])
        folder = RunFolder(tmp_path / name)
        return Trained(pipeline.run(config, messages, folder=folder).path, messages.messages)

    return train_small
