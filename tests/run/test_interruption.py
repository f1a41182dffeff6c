import os
import signal
from pathlib import Path

import pytest

from mmrun.errors import Terminated
from mmrun.results.folder import RunFolder
from mmrun.run.interruption import TERMINATION, handle_signals
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

    def on_message(self, text):
        self.messages.append(text)


@pytest.mark.parametrize("number", [signal.SIGINT, *TERMINATION])
def test_a_signal_ends_the_run_after_a_checkpoint_and_resuming_gives_the_same_result(load, number):
    expected = run(load(), NullCallback()).read_metrics()["metrics"]
    config = load(f"outputs={load().outputs}-{number}")
    sender = Signal(number)
    with pytest.raises(KeyboardInterrupt) as raised:
        run(config, sender)
    assert isinstance(raised.value, Terminated) is (number != signal.SIGINT)
    [entry] = os.scandir(f"{config.outputs}/default")
    name = signal.Signals(number).name
    assert sender.messages == [f"train: {name}: checkpoint saved after step 3; mmrun resume {entry.path}"]
    folder = run(config, NullCallback())
    assert folder.read_metrics()["metrics"] == expected


def test_a_second_signal_does_not_wait_for_a_checkpoint(load):
    config = load()
    with pytest.raises(KeyboardInterrupt):
        run(config, Signal(signal.SIGINT, times=2))
    [folder] = os.scandir(f"{config.outputs}/default")
    (state,) = checkpoint.load(RunFolder(Path(folder.path)).checkpoint_path("train", "last"))
    assert state["state"]["step"] == 0


def test_outside_of_training_a_signal_raises_at_once_and_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with handle_signals(), pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_after_the_last_step_is_not_forgotten():
    with handle_signals() as interruption, pytest.raises(Terminated), interruption.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
