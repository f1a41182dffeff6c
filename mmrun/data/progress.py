"""The progress of decoding: how many rows are done, and at which rate."""

import time
from typing import Protocol

WORTH_A_LINE = 5.0  # seconds that decoding takes at least, to be reported when it is done


class Listener(Protocol):
    """Receives messages while a column is opened; the callbacks of a run implement it."""

    def on_message(self, text: str) -> None:
        """Report something that the user should know.

        Args:
            text: one line.
        """
        ...

    def on_progress(self, text: str) -> None:
        """Show how far something is that takes a while.

        Args:
            text: one line, which replaces the last one.
        """
        ...


class Silence:
    """A listener that shows nothing."""

    def on_message(self, text: str) -> None:
        """Do nothing."""

    def on_progress(self, text: str) -> None:
        """Do nothing."""


class DecodingProgress:
    """Counts rows as they are decoded.

    Args:
        kind: of the column.
        num_rows: of the column.
        listener: is shown the progress.
    """

    def __init__(self, kind: str, num_rows: int, listener: Listener) -> None:
        self.kind, self.num_rows, self.listener = kind, num_rows, listener
        self.start(0)

    def start(self, num_decoded: int) -> None:
        """Begin to measure.

        Args:
            num_decoded: rows that were decoded before.
        """
        self.num_before = self.num_decoded = num_decoded
        self.started_at = time.monotonic()

    def advance(self, num_rows: int) -> None:
        """Count some rows, and show how many are done.

        Args:
            num_rows: that were decoded since the last call.
        """
        self.num_decoded += num_rows
        self.listener.on_progress(
            f"{self.kind}: {self.num_decoded:,} of {self.num_rows:,} rows decoded, {self._format_rate()}"
        )

    def describe(self) -> list[str]:
        """Return a line about the whole, or none if it was quick and nothing was decoded before."""
        seconds = time.monotonic() - self.started_at
        if seconds < WORTH_A_LINE and not self.num_before:
            return []
        before = f", {self.num_before:,} of them before this process started" if self.num_before else ""
        return [f"{self.kind}: {self.num_decoded:,} rows decoded in {seconds:.0f} s{before}, {self._format_rate()}"]

    def _format_rate(self) -> str:
        seconds = max(time.monotonic() - self.started_at, 1e-3)
        return f"{(self.num_decoded - self.num_before) / seconds:,.0f} rows/s"
