import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mmrun.errors import Terminated
from mmrun.results.folder import RunFolder
from mmrun.run.interruption import SAME_REQUEST, TERMINATION, handle_signals
from mmrun.run.pipeline import run
from mmrun.training import checkpoint
from mmrun.training.callback import Callback, NullCallback


class Signal(Callback):
    """Sends this process a signal in the middle of a stage."""

    def __init__(self, number, times=1):
        self.number, self.times = number, times
        self.messages = []

    def on_step_end(self, state, losses):
        if state.step == 3:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)
                time.sleep(SAME_REQUEST)

    def on_message(self, text):
        self.messages.append(text)


@pytest.mark.parametrize("number", [signal.SIGINT, *TERMINATION])
def test_a_signal_ends_the_run_after_a_checkpoint_and_resuming_gives_the_same_result(load, train_once, number):
    expected = train_once().read_metrics()["metrics"]
    config = load(f"outputs={load().outputs}-{number}")
    sender = Signal(number)
    with pytest.raises(KeyboardInterrupt) as raised:
        run(config, sender)
    assert isinstance(raised.value, Terminated) is (number != signal.SIGINT)
    [entry] = os.scandir(f"{config.outputs}/default")
    arrival = "interrupted: saving a checkpoint; press Ctrl-C again to stop at once"
    if number != signal.SIGINT:
        arrival = f"{signal.Signals(number).name}: saving a checkpoint; send a second signal to stop at once"
    assert sender.messages == [
        arrival,
        f"interrupted; mmrun resume {entry.path} continues after step 3 of train",
    ]
    folder = run(config, NullCallback())
    assert folder.read_metrics()["metrics"] == expected


def test_a_second_signal_does_not_wait_for_a_checkpoint(load):
    config = load()
    with pytest.raises(KeyboardInterrupt):
        run(config, Signal(signal.SIGINT, times=2))
    [folder] = os.scandir(f"{config.outputs}/default")
    (state,) = checkpoint.load(RunFolder(Path(folder.path)).checkpoint_path("train", "last"))
    assert state["state"]["step"] == 0


def test_a_signal_that_a_terminal_and_a_launcher_send_is_one():
    messages = []
    with handle_signals(messages.append) as interruption, suppress(KeyboardInterrupt), interruption.deferred():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        messages.append("the step ends")
    assert messages == ["interrupted: saving a checkpoint; press Ctrl-C again to stop at once", "the step ends"]


def test_outside_of_training_a_signal_raises_at_once_and_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with handle_signals(), pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_after_the_last_step_is_not_forgotten():
    with handle_signals() as interruption, pytest.raises(Terminated), interruption.deferred():
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("objective", ["moco", "dino"])
def test_a_stage_with_a_queue_or_a_centre_goes_on_as_if_it_had_not_been_interrupted(load, objective):
    pretext = "strategy.stages.pretrain.objective"
    overrides = [
        "strategy=component",
        f"{pretext}={objective}",
        "strategy.stages.pretrain.reuse=false",
        "budget.steps=12",
    ]
    uninterrupted = run(load(*overrides), NullCallback())
    config = load(*overrides, f"outputs={load().outputs}-interrupted")
    with pytest.raises(KeyboardInterrupt):
        run(config, Signal(signal.SIGINT))
    resumed = run(config, NullCallback())
    for stage in ("pretrain-a", "pretrain-b"):
        paths = [folder.checkpoint_path(stage, "best") for folder in (uninterrupted, resumed)]
        (_, *expected), (_, *actual) = (checkpoint.load(path, "model", "objective") for path in paths)
        for tensors, others in zip(expected, actual, strict=True):
            assert all(tensor.equal(others[name]) for name, tensor in tensors.items())
    assert resumed.read_metrics()["metrics"] == uninterrupted.read_metrics()["metrics"]
