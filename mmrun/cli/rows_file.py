"""The rows that a verb reads: a file that the user named, or stdin."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import cast

STDIN = Path("-")


@contextmanager
def open_rows_file(file: Path, root: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """Yield a file with rows, and the folder that file names in it are relative to.

    Args:
        file: as named by the user; `-` is stdin, JSON Lines if it begins with a brace, and CSV otherwise.
        root: as named by the user; None: the folder of the file, or the working folder for stdin.
    """
    if file != STDIN:
        yield file, root
        return
    stdin = cast(BufferedReader, sys.stdin.buffer)
    suffix = ".jsonl" if stdin.peek(1)[:1] == b"{" else ".csv"
    with tempfile.TemporaryDirectory(prefix="mmrun-") as folder:
        copy = Path(folder) / f"stdin{suffix}"
        with copy.open("wb") as stream:
            shutil.copyfileobj(stdin, stream)
        yield copy, root or Path.cwd()
