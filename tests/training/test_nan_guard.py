"""Losses that are not finite: named with rows and modality, skipped, or gone back from."""

import math

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmrun.training.nan_guard import MAX_SKIPPED, NanGuard, NonFiniteLossError
from mmrun.types import Batch, Encoder, Features


class Root(Encoder):
    """The square root: no number for values below zero."""

    kind, dim = "tabular", 1

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return Features(self.scale * x.sqrt())


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict({"a": Root(), "b": Root()})


def learner():
    module = nn.Module()
    module.model = Both()
    return module


def batch(a=(1.0, 4.0, 9.0), b=(1.0, 1.0, 1.0)):
    inputs = {"a": torch.tensor(a)[:, None], "b": torch.tensor(b)[:, None]}
    present = {name: torch.ones(3, dtype=torch.bool) for name in inputs}
    return Batch(inputs, present, {}, torch.tensor([7, 8, 9]))


NAN = {"loss": torch.tensor(math.nan)}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (batch(a=(1.0, math.inf, math.nan)), "the input of a is not finite in rows 8, 9"),
        (batch(b=(1.0, -1.0, 4.0)), "the encoder's output for b is not finite in row 8"),
    ],
)
def test_rows_and_modality_are_named(given, reason):
    guard = NanGuard(learner(), Accelerator(cpu=True))
    with pytest.raises(NonFiniteLossError) as raised:
        guard.accepts(4, given, NAN)
    assert str(raised.value) == (
        f"the loss is nan at step 5: {reason}; lower the learning rate, or set trainer.on_nan=skip or rollback"
    )


def test_rows_have_the_names_of_the_data_set():
    guard = NanGuard(learner(), Accelerator(cpu=True), ids=[f"patient-{row}" for row in range(10)])
    with pytest.raises(NonFiniteLossError, match=r"in row patient-9; "):
        guard.accepts(4, batch(a=(1.0, 1.0, math.nan)), NAN)


def test_a_step_is_skipped_and_too_many_in_a_row_end_the_stage():
    messages = []
    guard = NanGuard(learner(), Accelerator(cpu=True), "skip", on_message=messages.append)
    fine = {"loss": torch.tensor(1.0)}
    assert not guard.accepts(0, batch(), NAN)
    assert guard.accepts(1, batch(), fine)
    assert messages == [
        "the loss is nan at step 1, though every modality is finite (batch of rows 7, 8, 9); the step is skipped"
    ]
    for step in range(MAX_SKIPPED - 1):
        assert not guard.accepts(step, batch(), NAN)
    with pytest.raises(NonFiniteLossError, match="10 steps in a row were skipped: lower the learning rate"):
        guard.accepts(20, batch(), NAN)


def test_a_gradient_that_is_not_finite_is_skipped_too():
    module, messages = learner(), []
    guard = NanGuard(module, Accelerator(cpu=True), "skip", on_message=messages.append)
    module.model.encoder["a"].scale.grad = torch.tensor([math.inf])
    assert not guard.accepts(0, batch(), {"loss": torch.tensor(1.0)})
    assert messages[0].startswith("a gradient is not finite at step 1, ")


def test_on_a_gpu_the_step_is_noted_and_read_before_anything_is_saved():
    class Batches:
        def batch(self, step):
            assert step == 2
            return batch(a=(1.0, math.nan, 1.0))

    guard = NanGuard(learner(), Accelerator(cpu=True))
    guard.reads_at_once = False  # as on a GPU
    for step, loss in enumerate([1.0, 2.0, math.nan, math.nan]):
        assert guard.accepts(step, batch(), {"loss": torch.tensor(loss)})
    with pytest.raises(NonFiniteLossError, match="the loss is nan at step 3: the input of a is not finite in row 8"):
        guard.check(Batches())
    guard.check(Batches())  # told once
