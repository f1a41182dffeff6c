import json
import math
from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmrun.errors import RunError
from mmrun.head import FUSED
from mmrun.run.callbacks import EarlyStopping
from mmrun.training.budget import StageBudget
from mmrun.training.callback import Callback, CallbackList
from mmrun.training.engine import fit, predict
from mmrun.training.learner import Learner
from mmrun.training.state import FitConfig, TrainState
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


class Recorder(Callback):
    """Notes what the loop calls."""

    def __init__(self):
        self.steps, self.losses, self.best_steps, self.checkpoints, self.micro_batches = [], [], [], [], []

    def on_out_of_memory(self, state):
        self.micro_batches.append((state.step, state.grad_accum_steps))

    def on_step_end(self, state, losses):
        self.steps.append(state.step)

    def on_evaluate_end(self, state, metrics):
        self.losses.append(metrics["train/loss"])

    def on_best(self, state):
        self.best_steps.append(state.step)

    def on_checkpoint(self, state):
        self.checkpoints.append(state.step)


def train(config, values=(), state=None, lr=0.01, rows=None, callbacks=()):
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    learner = Learner(Line(), Squares())
    optimizer = torch.optim.SGD([{"params": learner.parameters(), "base_lr": lr}], lr=lr)
    learner = accelerator.prepare(learner)
    recorder, monitored = Recorder(), iter(values)
    validate = lambda: (next(monitored, 0.0), {})  # noqa: E731
    callback = CallbackList([recorder, *callbacks])
    fit(learner, rows or Rows(), optimizer, config, state or TrainState(), accelerator, validate, callback)
    return learner, recorder


def test_training_spends_its_budget_and_evaluates_on_time():
    _, recorder = train(FitConfig(StageBudget(steps=25), evaluate_every=10, schedule="constant"))
    assert recorder.steps == list(range(1, 26))
    assert len(recorder.losses) == 3  # after 10, 20 and at the end
    assert recorder.losses[-1] < 0.5 * recorder.losses[0]


def test_the_best_evaluation_is_reported():
    config = FitConfig(StageBudget(steps=5), evaluate_every=1, higher_is_better=True)
    _, recorder = train(config, values=[0.1, 0.3, 0.2, 0.3, 0.9])
    assert recorder.best_steps == [1, 2, 5]
    assert recorder.checkpoints == [1, 2, 3, 4, 5]


def test_early_stopping_ends_the_stage():
    config = FitConfig(StageBudget(steps=100), evaluate_every=1, higher_is_better=True)
    _, recorder = train(config, values=[0.1, 0.3, 0.2, 0.3, 0.9], callbacks=[EarlyStopping(patience=2)])
    assert recorder.best_steps == [1, 2]
    assert recorder.steps[-1] == 4


def test_a_callback_adds_metrics_that_later_ones_see():
    class Doubler(Callback):
        def on_evaluate_end(self, state, metrics):
            metrics["double"] = 2 * metrics["train/loss"]

    class Reader(Callback):
        def on_evaluate_end(self, state, metrics):
            seen.append(metrics["double"])

    seen = []
    _, recorder = train(FitConfig(StageBudget(steps=1), evaluate_every=1), callbacks=[Doubler(), Reader()])
    assert seen == [2 * recorder.losses[0]]


def test_micro_batches_give_the_gradient_of_the_whole_batch():
    whole, _ = train(FitConfig(StageBudget(steps=3), evaluate_every=1))
    parts, _ = train(FitConfig(StageBudget(steps=3), evaluate_every=1, grad_accum_steps=2))
    torch.testing.assert_close(whole.model.line.weight, parts.model.line.weight)


def test_gradients_are_clipped():
    free, _ = train(FitConfig(StageBudget(steps=1), evaluate_every=1, schedule="constant"))
    held, _ = train(FitConfig(StageBudget(steps=1), evaluate_every=1, schedule="constant", max_grad_norm=1e-6))
    torch.manual_seed(0)
    start = Line().line.weight
    assert (held.model.line.weight - start).abs() < 1e-7 < (free.model.line.weight - start).abs()


def test_a_loss_that_is_not_finite_ends_the_run():
    class Broken(Rows):
        def batch(self, step):
            batch = super().batch(step)
            return batch._replace(targets={"y": batch.targets["y"] * math.nan})

    with pytest.raises(RunError, match="the loss is nan after step 1; try a lower learning rate"):
        train(FitConfig(StageBudget(steps=5), evaluate_every=1), rows=Broken())


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [1.0, 1.0, 1.0]), ("linear", [1.0, 0.5, 0.0]), ("cosine", [1.0, 0.5, 0.0])],
)
def test_schedules(schedule, expected):
    config = FitConfig(StageBudget(steps=1), 1, schedule=schedule)
    assert [config.lr_factor(spent) for spent in (0.0, 0.5, 1.0)] == pytest.approx(expected)


def test_warm_up_rises_to_the_full_rate():
    config = FitConfig(StageBudget(steps=1), 1, schedule="linear", warmup=0.1)
    assert 0 < config.lr_factor(0.0) < config.lr_factor(0.05) < config.lr_factor(0.1) == 1.0


def test_what_does_not_learn_stays_in_eval_mode():
    encoder = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    head = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    encoder.requires_grad_(False)
    learner = Learner(nn.ModuleDict({"encoder": encoder, "head": head}), nn.Identity())
    learner.train()
    assert [m.training for m in encoder.modules()] == [False] * 4
    assert [m.training for m in head.modules()] == [True] * 3


def test_the_train_state_survives_json():
    state = TrainState(step=7, seconds=1.5, best=0.25, best_step=4, stale=1)
    state.losses.add({"loss": torch.tensor(0.1)})
    restored = TrainState.from_state_dict(json.loads(json.dumps(state.state_dict())))
    assert restored.state_dict() == state.state_dict()
    assert restored.losses.pop() == {"loss": torch.tensor(0.1)}


def test_predictions_hold_every_row_once_and_in_order():
    batches = [Rows().batch(0)._replace(index=torch.tensor(index)) for index in ([6, 4, 5, 7], [7, 6, 2, 3])]
    outputs, targets, rows = predict(Line().eval(), [FUSED], iter(batches), Accelerator(cpu=True))
    assert rows.tolist() == [2, 3, 4, 5, 6, 7]
    assert targets["y"].flatten().tolist() == [6.0, 8.0, 4.0, 6.0, 2.0, 8.0]
    assert outputs[FUSED]["label"].shape == (6, 1)


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
