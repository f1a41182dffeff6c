"""What the header of a PLY or PCD file says of the points after it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmrun.data import limits
from mmrun.errors import DataError

PADDING = "_"  # begins the names of columns that only align the others


@dataclass(frozen=True)
class PointHeader:
    """The header of a file of points. What it claims was not yet compared with the size of the file.

    Attributes:
        name: of the file.
        columns: NumPy's types, by name, in the order of the file; those that begin with PADDING hold nothing.
        num_points: n.
        start: byte at which the points start.
        is_text: whether a point is a line of numbers; False: its bytes, one column after the other.
    """

    name: str
    columns: dict[str, str]
    num_points: int
    start: int
    is_text: bool

    @property
    def dtype(self) -> np.dtype:
        """Of the record of a point."""
        return np.dtype(list(self.columns.items()))


def split_header(head: bytes, last: str, name: str) -> tuple[list[list[str]], int]:
    """Return the words of each line of a header, and the byte after it.

    Args:
        head: the first bytes of a file.
        last: the first word of the last line.
        name: of the file.

    Raises:
        DataError: there is no such line.
    """
    lines: list[list[str]] = []
    start = 0
    while (end := head.find(b"\n", start)) >= 0:
        words = head[start:end].decode("latin-1").split()
        start = end + 1
        lines.append(words)
        if words and words[0].lower() == last:
            return lines, start
    raise DataError(f"{name} has no header that ends with '{last}' in its first {limits.MAX_POINT_HEADER >> 10} KiB")


def check_columns(names: Sequence[str], name: str) -> None:
    """Check the names of a point's columns.

    Args:
        names: of the columns.
        name: of the file.

    Raises:
        DataError: there are too many, or two have one name.
    """
    if len(names) > limits.MAX_POINT_COLUMNS:
        raise DataError(f"{name} has {len(names)} numbers a point; at most {limits.MAX_POINT_COLUMNS} are read")
    if len({column.lower() for column in names}) < len(names):
        raise DataError(f"{name} has two columns of one name: {', '.join(names)}")


def parse_count(text: str, what: str, name: str) -> int:
    """Return a count in a header.

    Args:
        text: of the number.
        what: is counted.
        name: of the file.

    Raises:
        DataError: it is no whole number.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise DataError(f"{name}: {what} is '{text[:40]}', not a count")
    return int(text)
