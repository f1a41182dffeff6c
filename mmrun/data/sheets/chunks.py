"""What readers of files hand over: rows, or chunks of columns."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmrun.data.limits import check_column_count
from mmrun.errors import DataError

if TYPE_CHECKING:
    import pyarrow


class Row(NamedTuple):
    """One row of a CSV or JSON Lines file.

    Attributes:
        line: number in the file, from 1.
        cells: by column name.
        problem: why the row as a whole cannot be used; "" if it can.
    """

    line: int
    cells: dict[str, object]
    problem: str


class Chunk(NamedTuple):
    """Consecutive rows of a file, by column.

    Attributes:
        lines: number of each row in the file.
        columns: cells by column name, as a list or as an Arrow array.
        problems: why a row as a whole cannot be used, by its number in the chunk.
    """

    lines: Sequence[int] | np.ndarray
    columns: "Mapping[str, list[object] | pyarrow.Array]"
    problems: dict[int, str]


class CsvHeader(NamedTuple):
    """The header of a CSV file, and how the file is written.

    Attributes:
        names: of the columns.
        delimiter: between cells.
        encoding: of the text.
        num_records: header and, above it, Excel's line that names the delimiter.
        num_lines: that these take.
    """

    names: list[str]
    delimiter: str
    encoding: str
    num_records: int
    num_lines: int


def check_header(names: Sequence[str], file: str) -> None:
    """Check the names of the columns of a file.

    Args:
        names: in its order.
        file: its name.

    Raises:
        DataError: a name occurs twice, or there are too many.
    """
    check_column_count(len(names), file)
    duplicates = [name for name, count in Counter(names).items() if name and count > 1]
    if duplicates:
        raise DataError(f"{file}:1: column '{min(duplicates)}' occurs twice; rename one")
