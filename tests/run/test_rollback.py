"""Runs whose loss is not finite at one step."""

import math
from typing import Any

import pytest
import torch

from mmrun.errors import RunError
from mmrun.results.files import read_json
from mmrun.run.pipeline import run
from mmrun.training.callback import Callback, NullCallback
from mmrun.training.learner import Learner
from mmrun.training.nan_guard import NonFiniteLossError


class Messages(Callback):
    def __init__(self):
        self.messages, self.steps = [], []

    def on_message(self, text):
        self.messages.append(text)

    def on_step_end(self, state, losses):
        self.steps.append(state.step)


@pytest.fixture
def broken(monkeypatch):
    """Break the loss of the n-th training steps, counted from 1 over all attempts."""

    def break_steps(*steps):
        forward, calls = Learner.forward, []

        def with_nan(self, batch):
            losses = forward(self, batch)
            if self.training and torch.is_grad_enabled():
                calls.append(1)
                if len(calls) - 1 in steps:  # the first pass counts operations
                    return {**losses, "loss": losses["loss"] * math.nan}
            return losses

        monkeypatch.setattr(Learner, "forward", with_nan)

    return break_steps


def test_a_run_stops_and_says_where(load, broken):
    broken(4)
    with pytest.raises(NonFiniteLossError, match=r"^the loss is nan at step 4, though every modality is finite \("):
        run(load("trainer.cache_features=false"), NullCallback())


def test_a_step_is_skipped(load, broken):
    broken(4)
    observer = Messages()
    folder = run(load("trainer.on_nan=skip", "trainer.cache_features=false"), observer)
    [message] = observer.messages
    assert message.startswith("train: the loss is nan at step 4, ")
    assert message.endswith("; the step is skipped")
    assert observer.steps == [1, 2, 3, 4, 5, 6]
    assert math.isfinite(folder.read_metrics()["metrics"]["test"]["accuracy"])


def test_training_goes_back_to_the_last_evaluation_at_half_the_learning_rate(load, broken):
    broken(4)
    observer = Messages()
    words = ["trainer.on_nan=rollback", "trainer.cache_features=false", "trainer.evaluate_every=0.7"]  # 2 steps
    folder = run(load(*words), observer)
    [message] = observer.messages
    assert message.endswith("; back to step 2, at 0.5 times the learning rate")
    assert observer.steps == [1, 2, 3, 3, 4, 5, 6]
    steps = [event["step"] for event in folder.log.read_events()]
    assert steps == [2, 4, 6]
    assert sorted(path.name for path in (folder.checkpoints / "train").iterdir()) == ["best", "last"]


def test_going_back_too_often_ends_the_run(load, broken):
    broken(*range(2, 40))
    observer = Messages()
    with pytest.raises(NonFiniteLossError, match=r"went back 5 times already: lower the learning rate"):
        run(load("trainer.on_nan=rollback", "trainer.cache_features=false"), observer)
    assert len(observer.messages) == 5


def test_a_run_without_a_finite_evaluation_has_no_best(load, monkeypatch):
    monkeypatch.setattr("mmrun.run.validation.LossValidation.__call__", lambda self: (math.nan, {"loss": math.nan}))
    with pytest.raises(RunError, match=r"loss was not finite in any evaluation, so none is the best; .*keep=last"):
        run(load("strategy.stages.train.monitor=loss"), NullCallback())


def test_the_policy_does_not_rename_runs_that_do_not_set_it(load):
    config = load()
    folder = run(config, NullCallback())
    assert read_json(folder.metrics_file)["config"]["trainer"]["on_nan"] == "stop"
    from mmrun.compose import as_dict
    from mmrun.results.identity import config_hash

    old: dict[str, Any] = as_dict(config)
    del old["trainer"]["on_nan"]
    assert config_hash(old) == config_hash(as_dict(config)) == folder.name.rpartition("-")[2]
    assert config_hash(as_dict(load("trainer.on_nan=skip"))) != config_hash(old)
