import json
import time

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.run import callbacks, pipeline
from mmrun.run.build_stage import build_stage
from mmrun.run.callbacks import EarlyStopping, FinishedSteps, Heartbeat, JsonlLog, Tracker
from mmrun.training.callback import Callback, NullCallback
from mmrun.training.state import TrainState


class Recorder(Callback):
    """Notes the hooks of a run, in order."""

    def __init__(self):
        self.hooks = []

    def on_run_start(self, folder, stages):
        self.hooks.append(("run_start", tuple(stages)))

    def on_stage_start(self, stage, state):
        self.hooks.append(("stage_start", stage.name, state.step))

    def on_step_end(self, state, losses):
        self.hooks.append(("step", state.step))

    def on_evaluate_end(self, state, metrics):
        self.hooks.append(("evaluate", sorted(name for name in metrics if "/loss" in name or "accuracy" in name)))

    def on_stage_end(self, stage, state):
        self.hooks.append(("stage_end", state.step))

    def on_run_end(self, folder):
        self.hooks.append(("run_end", (folder / "metrics.json").exists()))


def test_the_hooks_of_a_run_are_called_in_order(load):
    recorder = Recorder()
    pipeline.run(load("budget.steps=2"), recorder)
    assert recorder.hooks[:4] == [("run_start", ("train",)), ("stage_start", "train", 0), ("step", 1), ("step", 2)]
    assert recorder.hooks[4][0] == "evaluate"
    assert {"train/loss", "val/accuracy"} <= set(recorder.hooks[4][1])
    assert recorder.hooks[5:] == [("stage_end", 2), ("run_end", True)]


class SlowDevice:
    """Takes 10 ms a step, however quickly steps are launched."""

    def __init__(self):
        self.launched, self.done = 0, 0

    def record(self):
        self.launched += 1
        return Launched(self, self.launched)


class Launched:
    def __init__(self, device, step):
        self.device, self.step = device, step

    def synchronize(self):
        time.sleep(0.01 * (self.step - self.device.done))
        self.device.done = self.step


def test_seconds_of_a_budget_are_those_of_finished_steps():
    device, state = SlowDevice(), TrainState()
    callback = FinishedSteps(device.record)
    for _ in range(10):
        callback.on_step_end(state, {})
    assert device.launched - device.done == 2
    assert state.seconds >= 0.08


def test_early_stopping_of_the_config_ends_a_stage(load):
    config = load(
        "callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=1e-30", "budget.steps=50"
    )
    folder = pipeline.run(config, NullCallback())
    stage = folder.read_metrics()["cost"]["stages"]["train"]
    assert stage["steps"] < 50
    with pytest.raises(
        ConfigError, match=r"^callbacks.early_stopping.patience: 0 is not a number of evaluations above 0"
    ):
        EarlyStopping(0)


def test_a_stage_ends_where_its_threshold_is_reached(load):
    config = load("strategy.stages.train.stopping_threshold=0.0", "budget.steps=50")
    folder = pipeline.run(config, NullCallback())
    assert folder.read_metrics()["cost"]["stages"]["train"]["steps"] < 50


def test_the_log_holds_metrics_and_costs(open_run):
    session = open_run()
    built = build_stage(session, session.stages["train"])
    log, state = JsonlLog(session.folder, built), TrainState(step=2, seconds=1.0, grad_accum_steps=4)
    log.on_evaluate_end(state, {"val/loss": 0.5})
    log.on_out_of_memory(state)
    evaluated, out_of_memory = [json.loads(line) for line in session.folder.log_file.read_text().splitlines()]
    assert {name: evaluated[name] for name in ("event", "stage", "step", "samples", "val/loss")} == {
        "event": "evaluated",
        "stage": "train",
        "step": 2,
        "samples": 32,
        "val/loss": 0.5,
    }
    assert out_of_memory == {"event": "out_of_memory", "stage": "train", "step": 2, "grad_accum_steps": 4}


def test_a_run_gives_signs_of_life(open_run, monkeypatch):
    session = open_run()
    built = build_stage(session, session.stages["train"])
    heartbeat, state = Heartbeat(session.folder, built), TrainState(step=0)
    heartbeat.on_stage_start(built, state)
    assert session.folder.status.read()["progress"] == 0.0
    state.step = 3
    heartbeat.on_checkpoint(state)
    assert session.folder.status.read()["step"] == 0  # it is not time yet
    monkeypatch.setattr(callbacks, "HEARTBEAT", 0.0)
    heartbeat.on_checkpoint(state)
    assert (session.folder.status.read()["step"], session.folder.status.read()["progress"]) == (3, 0.5)


def test_the_status_of_a_short_run_names_its_last_step(load):
    """It ends before the first heartbeat is due."""
    folder = pipeline.run(load("budget.steps=2"), NullCallback())
    status = folder.status.read()
    assert (status["status"], status["stage"], status["step"], status["progress"]) == ("finished", "train", 2, 1.0)


def test_an_unknown_tracker_is_rejected():
    with pytest.raises(ConfigError, match=r"^callbacks: no tracker 'tensorbord'; did you mean 'tensorboard'\? "):
        Tracker("tensorbord")


def test_the_average_follows_every_step(open_run):
    session = open_run("strategy.stages.train.ema_decay=0.5")
    built = build_stage(session, session.stages["train"])
    name, weight = next(iter(built.ema.weights.items()))
    start = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    callbacks.AverageWeights(built.ema).on_step_end(TrainState(step=100), {})
    torch.testing.assert_close(built.ema.averages[name], start + 0.5)
