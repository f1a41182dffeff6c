"""What mmrun prints. Names and messages may come from someone else, so their control characters are escaped."""

import sys
from typing import TextIO

from mmrun.results.formatting import escape_controls


def echo(*values: object, end: str = "\n", file: TextIO | None = None) -> None:
    """Print like `print`, with control characters escaped.

    Args:
        values: separated by a space.
        end: follows the last one.
        file: sys.stdout if None.
    """
    print(escape_controls(" ".join(map(str, values))), end=end, file=sys.stdout if file is None else file)
