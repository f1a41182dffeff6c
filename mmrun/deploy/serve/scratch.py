"""Files that come as the content of a request, on the disk while it is answered."""

import itertools
from pathlib import Path
from types import TracebackType

_numbers = itertools.count()


class RequestFiles:
    """The files of one request; they are removed when the context ends.

    Args:
        folder: of the server; other requests write there too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: list[Path] = []

    def __enter__(self) -> "RequestFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for path in self._paths:
            path.unlink(missing_ok=True)

    def write(self, content: bytes, suffix: str = "") -> Path:
        """Write a file, whose name ends in a suffix, and return its path."""
        path = self._folder / f"upload-{next(_numbers)}{suffix}"  # a name that no other part of a message has
        self._paths.append(path)
        path.write_bytes(content)
        return path
