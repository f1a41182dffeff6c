"""Reads a user's CSV, JSON Lines, Parquet, Arrow or Excel file into named columns, with the line number of each row."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmrun.data.packed import PackedValues, release_memory
from mmrun.data.sheets.chunks import Chunk, Row, check_header, group_rows, normalize_column_name
from mmrun.data.sheets.csv_rows import read_csv
from mmrun.data.sheets.encoding import choose_encoding
from mmrun.data.sheets.excel import read_excel
from mmrun.data.sheets.json_rows import read_json
from mmrun.data.sheets.sheet import Places, Sheet
from mmrun.data.sheets.text_lines import check_decoding
from mmrun.errors import DataError

if TYPE_CHECKING:
    import pyarrow

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
CSV_SUFFIXES = (".csv", ".tsv", ".txt")
SUFFIXES = (*CSV_SUFFIXES, *JSON_SUFFIXES, ".parquet", ".arrow", ".xlsx")


def read_sheet(path: Path, limit: int | None = None, encoding: str | None = None) -> Sheet:
    """Read a CSV, TSV, JSON Lines or Parquet file.

    Args:
        path: its suffix decides the format.
        limit: read only so many rows from the start; None: all.
        encoding: of a text file that is not Unicode; None: such a file cannot be read.

    Returns:
        Cells as they are in the file: strings of a CSV, typed values of JSON Lines and Parquet. Rows that cannot be
        parsed are listed in `problems`.

    Raises:
        DataError: the format is unknown, or the file as a whole cannot be read or has no row.
    """
    return _build_sheet(path.name, _read_chunks(path, limit, encoding))


def read_sheets(name: str, files: Mapping[str, Path], limit: int | None = None, encoding: str | None = None) -> Sheet:
    """Read several files with the same columns, one after the other.

    Args:
        name: of all of them together.
        files: paths by the names that messages use.
        limit: read only so many rows of each file; None: all.
        encoding: as for `read_sheet`.

    Raises:
        DataError: a file cannot be read, or has other columns than the first one.
    """
    numbers: list[np.ndarray] = []
    lines: list[np.ndarray] = []

    def read_chunks() -> Iterator[Chunk]:
        header: list[str] = []
        for number, (file, path) in enumerate(files.items()):
            for chunk in _read_chunks(path, limit, encoding):
                header = header or list(chunk.columns)
                _check_same_columns(header, chunk, file, files)
                numbers.append(np.full(len(chunk.lines), number, dtype=np.int32))
                lines.append(np.array(chunk.lines, dtype=np.int64))
                yield chunk

    sheet = _build_sheet(name, read_chunks())
    places = Places(list(files), np.concatenate(numbers), np.concatenate(lines))
    return replace(sheet, lines=np.arange(1, len(places) + 1), places=places)


def build_sheet(
    name: str, rows: Iterator[Row], limit: int | None, places: Places, derived: frozenset[str] = frozenset()
) -> Sheet:
    """Build a sheet from rows that do not stand in a table.

    Args:
        name: of their folder.
        rows: one at a time; each has all columns that any has.
        limit: number of rows that are taken from the start; None: all.
        places: of all the rows.
        derived: columns that are never modalities.

    Raises:
        DataError: there is no row.
    """
    sheet = _build_sheet(name, group_rows(islice(rows, limit), name))
    return replace(sheet, places=places.take(np.arange(len(sheet.lines))), derived=derived)


def _read_chunks(path: Path, limit: int | None, encoding: str | None) -> Iterator[Chunk]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: '{suffix}' is not a supported table format; use one of {', '.join(SUFFIXES)}")
    if suffix == ".parquet":
        from mmrun.data.sheets.parquet import read_parquet  # imported late: other files may not need Arrow

        return read_parquet(path, limit)
    if suffix == ".arrow":
        from mmrun.data.sheets.arrow import read_arrow

        return read_arrow(path, limit)
    if suffix == ".xlsx":
        return group_rows(islice(read_excel(path), limit), path.name)
    chosen = choose_encoding(path, encoding)
    if suffix in JSON_SUFFIXES:
        return group_rows(check_decoding(islice(read_json(path, chosen), limit), path), path.name)
    return read_csv(path, chosen, limit)


def _check_same_columns(header: Sequence[str], chunk: Chunk, file: str, files: Mapping[str, Path]) -> None:
    """Raise an error if a file has other columns than the first one."""
    missing = [name for name in header if name not in chunk.columns]
    if missing or len(chunk.columns) > len(header):
        lacking, having = (file, next(iter(files))) if missing else (next(iter(files)), file)
        different = missing or [name for name in chunk.columns if name not in header]
        raise DataError(
            f"{lacking} has no column '{different[0]}', which {having} has; "
            f"name one of the files: dataset.path={files[having]}"
        )


def _build_sheet(name: str, chunks: Iterator[Chunk]) -> Sheet:
    """Collect chunks of rows with the same columns."""
    columns: dict[str, PackedValues[object]] = {}
    lines: list[np.ndarray] = []
    problems: dict[int, str] = {}
    num_rows = 0
    for chunk in chunks:
        columns = columns or {column: PackedValues() for column in chunk.columns}  # later chunks have the same
        for column_name, column in columns.items():
            _append_cells(column, chunk.columns[column_name])
        for row, problem in chunk.problems.items():
            problems[num_rows + row] = problem
        lines.append(np.array(chunk.lines, dtype=np.int64))
        num_rows += len(chunk.lines)
    if num_rows == 0:
        raise DataError(f"{name}: has no rows; it needs a header and at least one row")
    if len(problems) == num_rows:  # such as an encoding that no row can be read in
        row, problem = next(iter(problems.items()))
        raise DataError(f"{name}:{np.concatenate(lines)[row]}: {problem}")
    release_memory()
    check_header([normalize_column_name(column) for column in columns], name)
    columns = {normalize_column_name(column): cells for column, cells in columns.items()}
    return Sheet(name, columns, np.concatenate(lines), problems)


def _append_cells(column: PackedValues[object], cells: "list[object] | pyarrow.Array") -> None:
    """Append cells to a column; empty ones become None."""
    if isinstance(cells, list):
        column.extend([_normalize_cell(cell) for cell in cells])
    else:
        column.extend_array(_normalize_array(cells))


def _normalize_cell(value: object) -> object:
    """Return None for an empty cell, else the cell."""
    if isinstance(value, str):
        return value if value.strip() else None
    return None if value == b"" or (isinstance(value, float) and math.isnan(value)) else value


def _normalize_array(cells: "pyarrow.Array") -> "pyarrow.Array":
    """Return an array in which empty cells and NaN are null."""
    from pyarrow import compute, types

    if types.is_floating(cells.type):
        is_empty = compute.is_nan(cells)
    elif types.is_string(cells.type) or types.is_large_string(cells.type):
        if _start_visibly(cells):
            return cells
        is_empty = compute.equal(compute.utf8_trim_whitespace(cells), "")
    else:
        return cells
    return compute.if_else(is_empty, None, cells) if compute.any(is_empty).as_py() else cells


def _start_visibly(cells: "pyarrow.Array") -> bool:
    """Return whether all texts start with a visible ASCII character: then none of them is blank."""
    from pyarrow import binary, compute, large_binary, types

    kind = large_binary() if types.is_large_string(cells.type) else binary()
    lowest, highest = compute.min_max(cells.cast(kind)).as_py().values()
    return lowest is None or bool(lowest[:1] > b" " and highest < b"\x7f")
