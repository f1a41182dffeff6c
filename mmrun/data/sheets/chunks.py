"""What readers of files hand over: rows, or chunks of columns."""

import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmrun.data.limits import check_column_count
from mmrun.data.packed import CHUNK_SIZE
from mmrun.errors import DataError

if TYPE_CHECKING:
    import pyarrow

SAMPLE_ROWS = 1000  # first rows, from which the columns, their kinds and tasks are inferred


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


def group_rows(rows: Iterator[Row], file: str) -> Iterator[Chunk]:
    """Turn rows into chunks of columns; the first rows decide which columns there are.

    Args:
        rows: one at a time.
        file: name of their file.

    Raises:
        DataError: there are too many columns.
    """
    names: list[str] | None = None
    while chunk := list(islice(rows, CHUNK_SIZE)):
        if names is None:
            names = _list_columns(chunk[:SAMPLE_ROWS])
            check_column_count(len(names), file)
        columns = {}
        for name in names:
            columns[name] = [row.cells.get(name) for row in chunk]
        known = set(names)
        problems = {number: problem for number, row in enumerate(chunk) if (problem := _find_row_problem(row, known))}
        yield Chunk([row.line for row in chunk], columns, problems)


def _find_row_problem(row: Row, names: Container[str]) -> str:
    """Return why a row cannot be used, or ""; a key that none of the first rows has would otherwise be lost."""
    unknown = [name for name in row.cells if name not in names]
    if unknown:
        return f"key '{unknown[0]}' is in none of the first {SAMPLE_ROWS} rows; write it, or null, in one of them"
    return row.problem


def _list_columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns of any of the rows, in the order of their first occurrence."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row.cells))
    return list(names)


def normalize_column_name(name: str) -> str:
    """Return a name in Unicode's form NFC, without outer spaces and byte order marks: it equals what the user types.

    Args:
        name: as the file has it.
    """
    return unicodedata.normalize("NFC", name).strip().strip("\ufeff")


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


def describe_nameless(names: Sequence[str], first_cells: Iterable[object], file: str) -> list[str]:
    """Return a line about columns without a name, which are not read; none about a first column of row numbers.

    Args:
        names: of all columns, in order; "" where there is none.
        first_cells: cells of the first column, of the first rows.
        file: its name.
    """
    places = [place for place, name in enumerate(names, start=1) if not name]
    if not places or (places == [1] and all(str(cell).strip().isdecimal() for cell in first_cells)):
        return []
    columns = f"column {places[0]} has no name, and is"
    if len(places) > 1:
        columns = f"{len(places)} columns have no name, and are"
    return [f"{file}: {columns} not read; name what holds data"]
