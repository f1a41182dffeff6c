"""The log of a run: log.jsonl, one event a line."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from mmrun.errors import DamagedError, StorageError
from mmrun.results.files import open_regular, to_json_value
from mmrun.results.shapes import is_number

MAX_LINE = 1 << 20  # bytes of an event
MAX_BYTES = 256 << 20  # of a log that is read

Curves = dict[tuple[str, str], list[tuple[float, float]]]  # epochs and value, by stage and metric

LOG_MEND = "remove it: no result needs it, only curves do"


class RunLog:
    """Appends events to log.jsonl and reads them. The file is opened by the first event.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def append(self, event: Mapping[str, object]) -> None:
        """Append one event, which is on disk when this returns.

        Args:
            event: JSON values; numbers that are not finite become null.

        Raises:
            StorageError: the disk is full or cannot be written.
        """
        line = json.dumps(to_json_value(event), allow_nan=False) + "\n"
        try:
            if self._file is None:
                self._file = os.fdopen(self._open_for_writing(), "a", encoding="utf-8")
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written ({error.strerror})") from None

    def _open_for_writing(self) -> int:
        """Open the file, but not what a link leads to: a run folder may come from someone else."""
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    def size(self) -> int:
        """Return the length of the log in bytes; a checkpoint stores it."""
        return self.path.stat().st_size if self.path.exists() else 0

    def truncate(self, size: int) -> None:
        """Drop what was logged after a checkpoint, before training continues from it.

        Args:
            size: length to cut the log to, in bytes; a shorter log is left as it is.
        """
        self.close()
        if size < self.size():
            os.truncate(self.path, size)

    def drop_from(self, stage: str) -> None:
        """Drop the events of a stage and all that follow, before it is trained again.

        Args:
            stage: its name.
        """
        if self.path.exists():
            size = 0
            for line, event in self._read_lines():
                if event.get("stage") == stage:
                    break
                size += len(line)
            self.truncate(size)

    def close(self) -> None:
        """Close the file; the next event opens it again."""
        if self._file is not None:
            with suppress(OSError):  # a full disk: what it still holds is not complete
                self._file.close()
            self._file = None

    def read_events(self) -> Iterator[dict[str, Any]]:
        """Read the events.

        Yields:
            Each event in order, except a last line that a killed run left incomplete.

        Raises:
            DamagedError: the file is not readable, a line is not an event, or the file or a line is too long.
        """
        for _, event in self._read_lines():
            yield event

    def read_curves(self, names: Sequence[str]) -> Curves:
        """Read how metrics and losses moved during each stage.

        Args:
            names: as in the log: "train/loss", "val/accuracy".

        Returns:
            Epochs and value of each evaluation, by stage and name. What is not a finite number is left out.

        Raises:
            DamagedError: as `read_events`.
        """
        curves: Curves = {}
        for event in self.read_events():
            epochs = event.get("epochs")
            if event.get("event") == "evaluated" and is_number(epochs):
                for name in names:
                    if is_number(event.get(name)):
                        curves.setdefault((str(event.get("stage")), name), []).append((epochs, event[name]))
        return curves

    def _read_lines(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Yield each complete line with its event."""
        try:
            with open_regular(self.path) as stream:
                yield from self._parse_lines(stream)
        except OSError as error:
            raise DamagedError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def _parse_lines(self, stream: BinaryIO) -> Iterator[tuple[bytes, dict[str, Any]]]:
        number, size = 0, 0
        while line := stream.readline(MAX_LINE):
            number, size = number + 1, size + len(line)
            if not line.endswith(b"\n"):
                if len(line) == MAX_LINE:
                    raise DamagedError(f"{self.path}:{number}: damaged, longer than {MAX_LINE >> 20} MiB")
                return
            if size > MAX_BYTES:
                raise DamagedError(f"{self.path}: larger than {MAX_BYTES >> 20} MiB; remove old events")
            yield line, self._parse_event(line, number)

    def _parse_event(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DamagedError(f"{self.path}:{number}: damaged, not valid JSON ({error}); {LOG_MEND}") from None
        if not isinstance(event, dict):
            raise DamagedError(f"{self.path}:{number}: damaged, not an event; {LOG_MEND}")
        return event
