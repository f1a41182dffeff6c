import math
import re

import pytest
import torch
from accelerate import Accelerator

from mmrun.errors import RunError
from mmrun.head import FUSED
from mmrun.run.callbacks import EarlyStopping, StopAtThreshold
from mmrun.training.budget import StageBudget
from mmrun.training.callback import Callback, CallbackList
from mmrun.training.engine import fit, predict
from mmrun.training.learner import Learner
from mmrun.training.state import FitConfig, TrainState
from tests.training.line import Line, Rows, Squares


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


def test_an_objective_moves_once_a_step_whatever_the_micro_batches():
    class Counting(Squares):
        steps, progress = 0, ()

        def on_step_start(self, progress):
            self.progress += (progress,)

        def on_step_end(self, model):
            self.steps += 1

    accelerator, objective = Accelerator(cpu=True), Counting()
    learner = Learner(Line(), objective)
    optimizer = torch.optim.SGD([{"params": learner.parameters(), "base_lr": 0.1}], lr=0.1)
    config = FitConfig(StageBudget(steps=4), evaluate_every=10, grad_accum_steps=2)
    fit(learner, Rows(), optimizer, config, TrainState(), accelerator, lambda: (0.0, {}), Recorder())
    assert objective.steps == 4
    assert objective.progress == (0.0, 0.25, 0.5, 0.75)


def test_training_spends_its_budget_and_evaluates_on_time():
    _, recorder = train(FitConfig(StageBudget(steps=25), evaluate_every=10, schedule="constant"))
    assert recorder.steps == list(range(1, 26))
    assert len(recorder.losses) == 3  # after 10, 20 and at the end
    assert recorder.losses[-1] < 0.5 * recorder.losses[0]


def test_the_best_evaluation_is_reported():
    config = FitConfig(StageBudget(steps=5), evaluate_every=1, higher_is_better=True)
    _, recorder = train(config, values=[0.1, 0.3, 0.2, 0.3, 0.9])
    assert recorder.best_steps == [1, 2, 4, 5]  # of equal values the later one
    assert recorder.checkpoints == [1, 2, 3, 4, 5]


def test_early_stopping_ends_the_stage():
    config = FitConfig(StageBudget(steps=100), evaluate_every=1, higher_is_better=True)
    _, recorder = train(config, values=[0.1, 0.3, 0.2, 0.3, 0.9], callbacks=[EarlyStopping(patience=2)])
    assert recorder.best_steps == [1, 2, 4]  # an equal value is no reason to wait longer
    assert recorder.steps[-1] == 4


@pytest.mark.parametrize(("threshold", "higher_is_better", "steps"), [(0.3, True, 2), (0.05, False, 4), (0.9, True, 5)])
def test_a_threshold_of_the_monitored_value_ends_the_stage(threshold, higher_is_better, steps):
    config = FitConfig(StageBudget(steps=5), evaluate_every=1, higher_is_better=higher_is_better)
    callback = StopAtThreshold(threshold, higher_is_better)
    _, recorder = train(config, values=[0.1, 0.3, 0.2, 0.05, 0.4], callbacks=[callback])
    assert recorder.steps[-1] == steps


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

    reason = "the loss is nan at step 1, though every modality is finite (batch of rows 0, 1, 2, 3)"
    with pytest.raises(RunError, match=re.escape(reason)):
        train(FitConfig(StageBudget(steps=5), evaluate_every=1), rows=Broken())


def test_predictions_hold_every_row_once_and_in_order():
    batches = [Rows().batch(0)._replace(index=torch.tensor(index)) for index in ([6, 4, 5, 7], [7, 6, 2, 3])]
    outputs, targets, rows = predict(Line().eval(), [FUSED], iter(batches), Accelerator(cpu=True))
    assert rows.tolist() == [2, 3, 4, 5, 6, 7]
    assert targets["y"].flatten().tolist() == [6.0, 8.0, 4.0, 6.0, 2.0, 8.0]
    assert outputs[FUSED]["label"].shape == (6, 1)
