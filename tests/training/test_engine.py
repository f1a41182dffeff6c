import math
from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmrun.errors import RunError
from mmrun.training.budget import StageBudget
from mmrun.training.engine import Learner, Plan, Progress, fit, predict
from mmrun.types import Batch, Objective


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, batch):
        return {"label": self.line(batch.inputs["x"])}


class Squares(Objective):
    def forward(self, model, batch):
        return {"loss": (model(batch)["label"] - batch.targets["y"]).square().mean()}


class Rows:
    """Four rows of y = 2x a step."""

    def batch(self, step):
        x = torch.tensor([[1.0], [2.0], [3.0], [4.0]]) + step % 3
        return Batch({"x": x}, {"x": torch.ones(4, dtype=torch.bool)}, {"y": 2 * x}, torch.arange(4))


class Notes:
    def __init__(self):
        self.steps, self.losses, self.improvements, self.saves, self.cuts = [], [], [], [], []

    def cut(self, progress):
        self.cuts.append((progress.step, progress.accumulate))

    def stepped(self, progress, losses):
        self.steps.append(progress.step)

    def evaluated(self, progress, losses, figures):
        self.losses.append(losses["loss"])

    def improved(self, progress):
        self.improvements.append(progress.step)

    def settled(self, progress):
        self.saves.append(progress.step)


def train(plan, figures=None, progress=None, lr=0.01, rows=None):
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    learner = Learner(Line(), Squares())
    optimizer = torch.optim.SGD([{"params": learner.parameters(), "base_lr": lr}], lr=lr)
    learner = accelerator.prepare(learner)
    notes = Notes()
    told = iter(figures or [])
    validate = lambda: (next(told, 0.0), {})  # noqa: E731
    fit(learner, rows or Rows(), optimizer, plan, progress or Progress(), accelerator, validate, notes)
    return learner, notes


def test_it_trains_for_its_allowance_and_evaluates_on_time():
    _, notes = train(Plan(StageBudget(steps=25), evaluate_every=10, schedule="constant"))
    assert notes.steps == list(range(1, 26))
    assert len(notes.losses) == 3  # after 10, 20 and at the end
    assert notes.losses[-1] < 0.5 * notes.losses[0]


def test_the_best_evaluation_is_told_and_patience_ends_the_stage():
    plan = Plan(StageBudget(steps=100), evaluate_every=1, higher_is_better=True, patience=2)
    _, notes = train(plan, figures=[0.1, 0.3, 0.2, 0.3, 0.9])
    assert notes.improvements == [1, 2]
    assert notes.steps[-1] == 4


def test_micro_batches_give_the_gradient_of_the_whole_batch():
    whole, _ = train(Plan(StageBudget(steps=3), evaluate_every=1))
    parts, _ = train(Plan(StageBudget(steps=3), evaluate_every=1, accumulate=2))
    torch.testing.assert_close(whole.model.line.weight, parts.model.line.weight)


def test_gradients_are_clipped():
    free, _ = train(Plan(StageBudget(steps=1), evaluate_every=1, schedule="constant"))
    held, _ = train(Plan(StageBudget(steps=1), evaluate_every=1, schedule="constant", clip=1e-6))
    torch.manual_seed(0)
    start = Line().line.weight
    assert (held.model.line.weight - start).abs() < 1e-7 < (free.model.line.weight - start).abs()


def test_a_loss_that_is_not_finite_ends_the_run():
    class Broken(Rows):
        def batch(self, step):
            batch = super().batch(step)
            return batch._replace(targets={"y": batch.targets["y"] * math.nan})

    with pytest.raises(RunError, match="the loss is nan after step 1; try a lower learning rate"):
        train(Plan(StageBudget(steps=5), evaluate_every=1), rows=Broken())


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [1.0, 1.0, 1.0]), ("linear", [1.0, 0.5, 0.0]), ("cosine", [1.0, 0.5, 0.0])],
)
def test_schedules(schedule, expected):
    plan = Plan(StageBudget(steps=1), 1, schedule=schedule)
    assert [plan.rate(spent) for spent in (0.0, 0.5, 1.0)] == pytest.approx(expected)


def test_warm_up_rises_to_the_full_rate():
    plan = Plan(StageBudget(steps=1), 1, schedule="linear", warmup=0.1)
    assert 0 < plan.rate(0.0) < plan.rate(0.05) < plan.rate(0.1) == 1.0


def test_what_does_not_learn_stays_in_eval_mode():
    encoder = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    head = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    encoder.requires_grad_(False)
    learner = Learner(nn.ModuleDict({"encoder": encoder, "head": head}), nn.Identity())
    learner.train()
    assert [m.training for m in encoder.modules()] == [False] * 4
    assert [m.training for m in head.modules()] == [True] * 3


def test_progress_comes_back_from_json():
    progress = Progress(step=7, seconds=1.5, best=0.25, best_step=4, stale=1)
    progress.tally.add({"loss": torch.tensor(0.1)})
    again = Progress.of(progress.state())
    assert again.state() == progress.state()
    assert again.tally.means() == {"loss": torch.tensor(0.1)}


def test_predictions_hold_every_row_once_and_in_order():
    batches = [Rows().batch(0)._replace(index=torch.tensor(index)) for index in ([6, 4, 5, 7], [7, 6, 2, 3])]
    outputs, targets, rows = predict(Line().eval(), [""], iter(batches), Accelerator(cpu=True))
    assert rows.tolist() == [2, 3, 4, 5, 6, 7]
    assert targets["y"].flatten().tolist() == [6.0, 8.0, 4.0, 6.0, 2.0, 8.0]
    assert outputs[""]["label"].shape == (6, 1)


def test_activations_may_wait_elsewhere_for_the_backward_pass():
    """Gradients are the same, bit for bit."""
    moved = []

    def saving():
        return torch.autograd.graph.saved_tensors_hooks(lambda t: moved.append(t.shape) or t.clone(), lambda t: t)

    gradients = []
    for place in (nullcontext, saving, torch.autograd.graph.save_on_cpu):
        torch.manual_seed(0)
        learner = Learner(Line(), Squares(), place)
        learner(Rows().batch(0))["loss"].backward()
        gradients.append(learner.model.line.weight.grad)
    assert gradients[0].equal(gradients[1])
    assert gradients[0].equal(gradients[2])
    assert (4, 1) in moved
