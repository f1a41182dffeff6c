"""Files that come as the content of a request, on the disk while it is answered."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_numbers = itertools.count()


class RequestFiles:
    """The files of one request.

    Args:
        folder: of the server; other requests write there too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: list[Path] = []

    def write(self, content: bytes, suffix: str = "") -> Path:
        """Write a file and return its path.

        Args:
            content: of the file.
            suffix: of its name.
        """
        path = self._folder / f"{next(_numbers)}{suffix}"
        self._paths.append(path)
        path.write_bytes(content)
        return path

    def remove(self) -> None:
        """Remove all files."""
        for path in self._paths:
            path.unlink(missing_ok=True)


@contextmanager
def open_request_files(folder: Path) -> Iterator[RequestFiles]:
    """Remove the files of a request when the context ends.

    Args:
        folder: of the server.
    """
    files = RequestFiles(folder)
    try:
        yield files
    finally:
        files.remove()
