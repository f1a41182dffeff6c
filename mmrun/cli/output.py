"""What mmrun prints. Names and messages may come from someone else, so their control characters are escaped."""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from mmrun.results.formatting import escape_controls

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Print results and errors only, or also progress and notes.

    Args:
        quiet: whether `--quiet` was given.
    """
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Return whether only results and errors are printed."""
    return _quiet


def shows_progress() -> bool:
    """Return whether a bar may be drawn on stderr: on a terminal, without `--quiet`."""
    return sys.stderr.isatty() and not _quiet


def split_quiet(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Remove `--quiet` from a command line.

    Returns:
        The remaining arguments, and whether the flag was among them.
    """
    return [argument for argument in arguments if argument != "--quiet"], "--quiet" in arguments


def is_first_process() -> bool:
    """Return whether this process prints: only the first of those that torchrun starts."""
    return os.environ.get("RANK", "0") == "0"


def echo(*values: object, end: str = "\n", file: TextIO | None = None) -> None:
    """Print like `print`, with control characters escaped.

    Args:
        values: separated by a space.
        end: follows the last one.
        file: sys.stdout if None.
    """
    print(escape_controls(" ".join(map(str, values))), end=end, file=sys.stdout if file is None else file)
