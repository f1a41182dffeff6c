"""A user's CSV, JSON Lines or Parquet file as named columns of cells, with the line of each row."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmrun.data.packed import PIECE, Packed, release
from mmrun.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
SAMPLE = 1000  # rows by which columns are told
LONGEST_CELL = 1 << 30  # characters; the csv module's own limit is 128 Ki
Row = tuple[int, dict[str, Any], str]  # its line, its cells by name, what is wrong with it as a whole


class Piece(NamedTuple):
    """Some rows that follow each other, by column."""

    lines: list[int]
    columns: dict[str, list[Any]]
    broken: dict[int, str]  # row of the piece -> what is wrong with it as a whole


@dataclass(frozen=True)
class Sheet:
    """Rows in the order of the file."""

    name: str  # "my.csv"
    columns: dict[str, Packed]  # by column name; None where empty
    lines: np.ndarray  # [N] int64, of each row
    broken: dict[int, str]  # row -> what is wrong with it as a whole

    def places(self, columns: Sequence[str] = ()) -> "Places":
        """Return the place of each row: "my.csv:17", with columns "my.csv:17: column 'photo'"."""
        named = ", ".join(f"'{column}'" for column in columns)
        return Places(self.name, self.lines, f": column{'s' if len(columns) > 1 else ''} {named}" if columns else "")


@dataclass(frozen=True)
class Places(Sequence[str]):
    """The place of each row, written out only when asked for."""

    name: str
    lines: np.ndarray  # [N] int64
    rest: str

    def taken(self, rows: np.ndarray) -> "Places":
        """Return the places of some rows."""
        return Places(self.name, self.lines[rows], self.rest)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, row: Any) -> Any:
        return f"{self.name}:{self.lines[row]}{self.rest}"


def read_sheet(path: Path, limit: int | None = None) -> Sheet:
    """Read a file, or its first `limit` rows."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: '{suffix}' is no table mmrun reads; give one of {', '.join(SUFFIXES)}")
    if suffix == ".parquet":
        pieces = _parquet(path, limit)
    else:
        read = _json_lines if suffix in (".jsonl", ".ndjson") else _csv
        pieces = _pieces(islice(read(path), limit))
    columns: dict[str, Packed] = {}
    lines: list[np.ndarray] = []
    broken: dict[int, str] = {}
    num_rows = 0
    for piece in pieces:
        columns = columns or {name: Packed() for name in piece.columns}  # later pieces have the same
        for name, column in columns.items():
            column.extend([_cell(cell) for cell in piece.columns[name]])
        broken |= {num_rows + row: wrong for row, wrong in piece.broken.items()}
        lines.append(np.array(piece.lines, dtype=np.int64))
        num_rows += len(piece.lines)
    if num_rows == 0:
        raise DataError(f"{path}: holds no rows; give a header and at least one row")
    release()
    return Sheet(path.name, columns, np.concatenate(lines), broken)


def _pieces(rows: Iterator[Row]) -> Iterator[Piece]:
    """Turn rows into columns: those that the first rows have."""
    names: list[str] | None = None
    while piece := list(islice(rows, PIECE)):
        if names is None:
            names = list(dict.fromkeys(name for _, cells, _ in piece[:SAMPLE] for name in cells))
        yield Piece(
            [line for line, _, _ in piece],
            {name: [cells.get(name) for _, cells, _ in piece] for name in names},
            {row: wrong for row, (_, _, wrong) in enumerate(piece) if wrong},
        )


def _cell(value: Any) -> Any:
    """Return None for an empty cell, else the cell."""
    empty = value is None or (isinstance(value, str) and not value.strip())
    return None if empty or (isinstance(value, float) and math.isnan(value)) else value


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_CELL)
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        first = file.readline()
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            doubled = {name for name in header if name and header.count(name) > 1}
            if doubled:
                raise DataError(f"{path.name}:1: column '{min(doubled)}' is there twice; rename one")
            line = reader.line_num + 1
            for cells in reader:
                if cells:
                    wrong = _wrong(header, cells)
                    named = dict.fromkeys(header) if wrong else dict(zip(header, cells, strict=True))
                    named.pop("", None)  # an index column has no name
                    yield line, named, wrong
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path.name}:{reader.line_num}: {error}; mend the quotes of this line") from None


def _wrong(header: list[str], cells: list[str]) -> str:
    if len(cells) != len(header):
        return f"has {len(cells)} cells, where the header has {len(header)}; quote cells that hold the separator"
    for name, cell in zip(header, cells, strict=True):
        if not cell.isascii() and any("\udc80" <= letter <= "\udcff" for letter in cell):
            return f"column '{name}': is no UTF-8 text; save the file as UTF-8"
    return ""


def _json_lines(path: Path) -> Iterator[Row]:
    with open(path, "rb") as file:
        for line, content in enumerate(file, start=1):
            if not content.strip():
                continue
            try:
                cells = json.loads(content)
            except UnicodeDecodeError:
                yield line, {}, "is no UTF-8 text; save the file as UTF-8"
            except ValueError as error:
                yield line, {}, f"is no JSON ({error}); write one object a line"
            else:
                whole = isinstance(cells, dict)
                yield line, cells if whole else {}, "" if whole else "is no JSON object; write one object a line"


def _parquet(path: Path, limit: int | None) -> Iterator[Piece]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    start = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(PIECE if limit is None else min(limit, PIECE)):
                part = batch if limit is None else batch.slice(0, limit - start)
                yield Piece(list(range(start + 1, start + len(part) + 1)), part.to_pydict(), {})
                start += len(part)
                if start == limit:
                    break
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path.name}: is damaged, or no Parquet file ({type(error).__name__}); write it anew"
        ) from None
