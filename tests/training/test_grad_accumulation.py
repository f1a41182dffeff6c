import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmrun.errors import RunError
from mmrun.training.budget import StageBudget
from mmrun.training.callback import Callback
from mmrun.training.engine import fit
from mmrun.training.grad_accumulation import GradientAccumulator, split
from mmrun.training.learner import Learner
from mmrun.training.state import FitConfig, TrainState
from mmrun.types import Batch, Objective


class Small(nn.Module):
    """A batch norm and dropout: what a failed attempt must not leave its trace in."""

    def __init__(self, room=8):
        super().__init__()
        self.room, self.forwards = room, 0
        self.layers = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))

    def forward(self, batch):
        self.forwards += 1
        if self.room == 0:
            raise torch.OutOfMemoryError("tried to allocate 2 GiB\nand more")
        output = self.layers(batch.inputs["x"])
        if len(output) > self.room:
            raise torch.OutOfMemoryError
        return {"label": output}


class Squares(Objective):
    def forward(self, model, batch):
        return {"loss": (model(batch)["label"] - batch.targets["y"]).square().mean()}


class Rows:
    def __init__(self, rows=8):
        self.rows = rows

    def batch(self, step):
        x = torch.randn(self.rows, 2, generator=torch.Generator().manual_seed(step))
        return Batch({"x": x}, {"x": torch.ones(self.rows, dtype=torch.bool)}, {"y": x[:, :1]}, torch.arange(self.rows))


class Recorder(Callback):
    def __init__(self):
        self.micro_batches, self.losses = [], []

    def on_out_of_memory(self, state):
        self.micro_batches.append((state.step, state.grad_accum_steps))

    def on_step_end(self, state, losses):
        self.losses.append(losses["loss"].item())


def train(room=8, grad_accum_steps=1, rows=8, steps=3, state=None):
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    learner = Learner(Small(room), Squares())
    optimizer = torch.optim.SGD([{"params": learner.parameters(), "base_lr": 0.1}], lr=0.1)
    config = FitConfig(StageBudget(steps=steps), evaluate_every=100, grad_accum_steps=grad_accum_steps)
    recorder, state = Recorder(), state or TrainState()
    fit(accelerator.prepare(learner), Rows(rows), optimizer, config, state, accelerator, lambda: (0.0, {}), recorder)
    return learner, recorder, state


def equal(one, other):
    left, right = one.state_dict(), other.state_dict()
    return all(left[name].equal(right[name]) for name in left)


def test_a_step_that_runs_out_of_memory_is_the_step_of_smaller_micro_batches():
    short, recorder, state = train(room=2)
    asked, _, _ = train(grad_accum_steps=4)
    assert recorder.micro_batches == [(0, 2), (0, 4)]
    assert state.grad_accum_steps == 4
    assert short.model.forwards == 1 + 1 + 3 * 4
    assert equal(short, asked)


def test_what_was_found_is_gone_on_with():
    learner, recorder, _ = train(room=2, state=TrainState(grad_accum_steps=4))
    assert recorder.micro_batches == []
    assert learner.model.forwards == 3 * 4


def test_one_row_that_does_not_fit_is_said():
    with pytest.raises(RunError) as caught:
        train(room=0)
    assert str(caught.value) == (
        "out of memory with one row at a time; try trainer.precision=bf16 or trainer.offload_activations=true, "
        "or choose smaller encoders (tried to allocate 2 GiB)"
    )


def test_parts_that_differ_in_size_weigh_by_their_rows():
    """5 rows in 2 parts are 3 and 2."""
    gradients = []
    for parts in (1, 2):
        torch.manual_seed(0)
        learner = Learner(nn.Linear(2, 1), LineSquares())
        losses = GradientAccumulator(learner, Accelerator(cpu=True), parts, print).add(Rows(5).batch(0))
        gradients.append((learner.model.weight.grad, losses["loss"]))
    torch.testing.assert_close(gradients[0], gradients[1])


class LineSquares(Objective):
    def forward(self, model, batch):
        return {"loss": (model(batch.inputs["x"]) - batch.targets["y"]).square().mean()}


def test_a_batch_is_cut_into_equal_parts():
    parts = split(Rows(4).batch(0), 2)
    assert [part.index.tolist() for part in parts] == [[0, 1], [2, 3]]
    assert [part.inputs["x"].shape for part in parts] == [(2, 2), (2, 2)]


def test_a_batch_without_targets_is_split():
    batch = Batch({"a": torch.zeros(5, 2)}, {"a": torch.ones(5, dtype=torch.bool)}, {}, torch.arange(5))
    parts = split(batch, 2)
    assert [part.index.tolist() for part in parts] == [[0, 1, 2], [3, 4]]
    assert [part.targets for part in parts] == [{}, {}]
