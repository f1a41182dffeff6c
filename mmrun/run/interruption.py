"""Signals that end a run: Ctrl-C, and those of a scheduler. A stage saves a checkpoint before it stops."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from mmrun.errors import Terminated

# Sent by kill, by SLURM before its time limit (--signal=USR1@60), and when a terminal closes.
TERMINATION = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)

PATIENCE = 20.0  # seconds that other processes get to save a checkpoint
SAME_REQUEST = 0.3  # seconds in which a repeated signal is the same one: a terminal and a launcher both send it


Report = Callable[[str], None]


class Interruption:
    """A signal that asks this process to stop.

    Args:
        report: receives a message when the first signal arrives during training; None: nobody does.

    Attributes:
        signal: its number; None: none has arrived.
    """

    def __init__(self, report: Report | None = None) -> None:
        self.signal: int | None = None
        self._report = report
        self._arrived_at = 0.0
        self._can_wait = False

    def handle(self, number: int, _: FrameType | None) -> None:
        """Note a signal that arrives during training; raise at any other time, and at the second signal.

        Args:
            number: of the signal.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            Terminated: another signal.
        """
        now = time.monotonic()
        if self.signal is not None and now - self._arrived_at < SAME_REQUEST:
            return
        is_first, self.signal, self._arrived_at = self.signal is None, number, now
        if not (is_first and self._can_wait):
            self.stop()
        self.report(number, "saving a checkpoint")

    def report(self, number: int, activity: str) -> None:
        """Report at once that a signal has arrived, and what a second one does.

        Args:
            number: of the signal.
            activity: what this process does before it stops.
        """
        again = "press Ctrl-C again" if number == signal.SIGINT else "send a second signal"
        reason = "interrupted" if number == signal.SIGINT else signal.Signals(number).name
        if self._report is not None:
            with suppress(RuntimeError):  # the signal arrived while the same stream was being written
                self._report(f"{reason}: {activity}; {again} to stop at once")

    def stop(self) -> None:
        """Raise the exception of the signal."""
        raise KeyboardInterrupt if self.signal == signal.SIGINT else Terminated

    def stop_if_signalled(self) -> None:
        """Raise the exception of the signal, if one has arrived."""
        if self.signal is not None:
            self.stop()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let a signal wait for the end of a training step while the context is open, so that a checkpoint is saved."""
        self._can_wait = True
        try:
            yield
        finally:
            self._can_wait = False
        self.stop_if_signalled()  # where it arrived after the last step


@contextmanager
def handle_signals(report: Report | None = None, forward: bool = False) -> Iterator[Interruption]:
    """Handle Ctrl-C and the signals of schedulers while the context is open.

    Outside of the main thread, where Python delivers no signals, nothing changes.

    Args:
        report: receives a message when a signal arrives during training; None: nobody does.
        forward: pass a signal on to the processes that this one started, and wait until they have saved checkpoints.
    """
    interruption = Interruption(report)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if forward and interruption.signal is None:
            interruption.report(number, "waiting until the runs have saved checkpoints")
            _forward(number)
        interruption.handle(number, frame)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, *TERMINATION)}
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _forward(number: int) -> None:
    """Send a signal to the children of this process that train, and wait a while for the end of their runs."""
    training = [pid for pid in _find_children() if _handles(pid, number)]
    for pid in training:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and any(_handles(pid, number) for pid in training):
        time.sleep(0.1)


def _find_children() -> list[int]:
    """Return the processes that this one and its children started; none where the system does not tell."""
    descendants, pids = [], [os.getpid()]
    while pids:
        for file in Path(f"/proc/{pids.pop()}/task").glob("*/children"):
            with suppress(OSError):  # it has just ended
                children = [int(pid) for pid in file.read_text().split()]
                descendants += children
                pids += children
    return descendants


def _handles(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal: one that trains, or that of its launcher's bookkeeping."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")), 0)
    return bool(caught >> (number - 1) & 1)
