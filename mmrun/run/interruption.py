"""Signals that end a run: Ctrl-C, and those of a scheduler. A stage saves a checkpoint before it stops."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mmrun.errors import Terminated

# Sent by kill, by SLURM before its time limit (--signal=USR1@60), and when a terminal closes.
TERMINATION = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Interruption:
    """A signal that asks this process to stop.

    Attributes:
        signal: its number; None: none has arrived.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._can_wait = False

    @property
    def name(self) -> str:
        """The signal's name, SIGTERM."""
        return "" if self.signal is None else signal.Signals(self.signal).name

    def handle(self, number: int, _: FrameType | None) -> None:
        """Note a signal that arrives during training; raise at any other time, and at the second signal.

        Args:
            number: of the signal.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            Terminated: another signal.
        """
        is_first, self.signal = self.signal is None, number
        if not (is_first and self._can_wait):
            self.stop()

    def stop(self) -> None:
        """Raise the exception of the signal."""
        raise KeyboardInterrupt if self.signal == signal.SIGINT else Terminated

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let a signal wait for the end of a training step while the context is open, so that a checkpoint is saved."""
        self._can_wait = True
        try:
            yield
        finally:
            self._can_wait = False
        if self.signal is not None:  # it arrived after the last step
            self.stop()


@contextmanager
def handle_signals() -> Iterator[Interruption]:
    """Handle Ctrl-C and the signals of schedulers while the context is open.

    Outside of the main thread, where Python delivers no signals, nothing changes.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    previous = {number: signal.signal(number, interruption.handle) for number in (signal.SIGINT, *TERMINATION)}
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
