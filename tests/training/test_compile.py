import shutil
import sysconfig
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmrun.head import FUSED
from mmrun.training.compile import compile_learner, compile_mode
from mmrun.training.engine import predict
from mmrun.training.grad_accumulation import GradientAccumulator
from mmrun.training.learner import Learner
from mmrun.types import Batch, Objective

HEADERS = Path(sysconfig.get_paths()["include"]) / "Python.h"
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None or not HEADERS.exists(), reason="torch.compile on a CPU needs g++ and Python.h"
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, batch):
        return {"label": self.layers(batch.inputs["x"]["values"])}


class CrossEntropy(Objective):
    def forward(self, model, batch):
        return {"loss": nn.functional.cross_entropy(model(batch)["label"], batch.targets["label"])}


def batch(step, rows=16):
    drawn = torch.Generator().manual_seed(step)
    x = torch.randn(rows, 4, generator=drawn)
    label = torch.randint(3, (rows,), generator=drawn)
    return Batch({"x": {"values": x}}, {"x": torch.ones(rows, dtype=torch.bool)}, {"label": label}, torch.arange(rows))


def losses(compiled, steps=5):
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    learner = accelerator.prepare(Learner(Net(), CrossEntropy()).train())
    notes = []
    if compiled:
        before = {name: value.clone() for name, value in learner.state_dict().items()}
        compile_learner(learner, batch(0), "default", accelerator, notes.append)
        assert notes == []
        assert list(learner.state_dict()) == list(before)
        assert all(value.equal(before[name]) for name, value in learner.state_dict().items())
    gradients = GradientAccumulator(learner, accelerator, 1, print)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    found = []
    for step in range(steps):
        found.append(gradients.add(batch(step))["loss"].item())
        optimizer.step()
        optimizer.zero_grad()
    learner.eval()
    outputs, _, _ = predict(learner.model, [FUSED], iter([batch(9, rows=7)]), accelerator)
    with torch.no_grad():
        found.append(learner(batch(9, rows=7))["loss"].item())  # another size, uncompiled
    return found, outputs[FUSED]["label"]


@needs_compiler
def test_a_compiled_learner_trains_as_the_plain_one():
    plain, outputs = losses(compiled=False)
    quick, quick_outputs = losses(compiled=True)
    assert quick == pytest.approx(plain, abs=1e-5)
    torch.testing.assert_close(quick_outputs, outputs, atol=1e-5, rtol=0)


def test_what_cannot_be_compiled_is_trained_as_it_is(monkeypatch):
    def broken(*args, **kwargs):
        def call(*args, **kwargs):
            raise RuntimeError("backend='inductor' raised:") from ValueError("\n no C++ compiler\nmore")

        return call

    monkeypatch.setattr("torch.compile", broken)
    accelerator = Accelerator(cpu=True)
    learner = accelerator.prepare(Learner(Net(), CrossEntropy()).train())
    notes = []
    compile_learner(learner, batch(0), "default", accelerator, notes.append)
    assert notes == ["training continues uncompiled: RuntimeError: no C++ compiler"]
    assert GradientAccumulator(learner, accelerator, 1, print).add(batch(0))["loss"].isfinite()


@pytest.mark.parametrize(
    ("wanted", "parts", "mode"),
    [
        (True, 1, "default"),
        ("auto", 4, "default"),
        ("max-autotune", 4, "max-autotune-no-cudagraphs"),
        ("reduce-overhead", 1, "reduce-overhead"),
        ("reduce-overhead", 2, "default"),
    ],
)
def test_cuda_graphs_are_for_steps_of_one_micro_batch(wanted, parts, mode):
    assert compile_mode(wanted, parts) == mode
