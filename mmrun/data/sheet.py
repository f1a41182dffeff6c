"""A user's CSV, JSON Lines or Parquet file as named columns of cells, with the line of each row."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mmrun.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
SAMPLE = 1000  # rows by which columns are told
LONGEST_CELL = 1 << 30  # characters; the csv module's own limit is 128 Ki
Row = tuple[int, dict[str, Any], str]  # its line, its cells by name, what is wrong with it as a whole


@dataclass(frozen=True)
class Sheet:
    """Rows in the order of the file."""

    name: str  # "my.csv"
    columns: dict[str, list[Any]]  # by column name; None where empty
    lines: list[int]  # of each row
    broken: dict[int, str]  # row -> what is wrong with it as a whole


class Where(Sequence[str]):
    """The place of each row, written out only when asked for: "my.csv:17: column 'photo'"."""

    def __init__(self, name: str, lines: Sequence[int], columns: Sequence[str]) -> None:
        self._name, self._lines = name, lines
        plural = "s" if len(columns) > 1 else ""
        self._columns = f"column{plural} " + ", ".join(f"'{column}'" for column in columns)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, row: Any) -> Any:
        return f"{self._name}:{self._lines[row]}: {self._columns}"


def read_sheet(path: Path, limit: int | None = None) -> Sheet:
    """Read a file, or its first `limit` rows."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: '{suffix}' is no table mmrun reads; give one of {', '.join(SUFFIXES)}")
    read = _parquet if suffix == ".parquet" else _json_lines if suffix in (".jsonl", ".ndjson") else _csv
    rows = list(islice(read(path), limit))
    if not rows:
        raise DataError(f"{path}: holds no rows; give a header and at least one row")
    names = dict.fromkeys(name for _, cells, _ in rows[:SAMPLE] for name in cells)
    columns = {name: [_cell(cells.get(name)) for _, cells, _ in rows] for name in names}
    broken = {row: wrong for row, (_, _, wrong) in enumerate(rows) if wrong}
    return Sheet(path.name, columns, [line for line, _, _ in rows], broken)


def _cell(value: Any) -> Any:
    """Give None for an empty cell."""
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


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches(1024) for row in batch.to_pylist())
            yield from ((number, row, "") for number, row in enumerate(rows, start=1))
        pyarrow.default_memory_pool().release_unused()  # it keeps all that it ever held
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path.name}: is damaged, or no Parquet file ({type(error).__name__}); write it anew"
        ) from None
