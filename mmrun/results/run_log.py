"""The log of a run: log.jsonl, one event a line."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from mmrun.results.files import to_json_value


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
        """
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8")
        self._file.write(json.dumps(to_json_value(event), allow_nan=False) + "\n")
        self._file.flush()

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

    def close(self) -> None:
        """Close the file; the next event opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def read_events(self) -> Iterator[dict[str, Any]]:
        """Read the events.

        Yields:
            Each event in order, except a last line that a killed run left incomplete.
        """
        with self.path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)
