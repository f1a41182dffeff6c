"""Reads a user's CSV, JSON Lines or Parquet file into named columns of cells, with the line number of each row."""

import csv
import math
import unicodedata
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from mmrun.data.limits import MAX_LINE_BYTES, check_column_count
from mmrun.data.packed import CHUNK_SIZE, HAS_ARROW, PackedValues, release_memory
from mmrun.data.sheets.chunks import Chunk, CsvHeader, Row, check_header
from mmrun.data.sheets.encoding import choose_encoding
from mmrun.data.sheets.excel import read_excel
from mmrun.data.sheets.formats import DateFormat, NumberFormat, WordFormat
from mmrun.data.sheets.json_rows import read_json
from mmrun.data.sheets.text_lines import find_encoding_problem, read_lines
from mmrun.errors import DataError

if TYPE_CHECKING:
    import _csv

    import pyarrow

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".xlsx")
MIN_COLUMNAR_BYTES = 1 << 18  # of a CSV file; a smaller one is read at once either way
SAMPLE_ROWS = 1000  # first rows, from which kinds and tasks of columns are inferred
MAX_NAMED = 6  # columns in a location
DELIMITERS = (",", ";", "\t", "|")
SAMPLE_LINES = 20  # first lines, from which the delimiter is inferred
SAMPLE_LETTERS = 1 << 16  # of these lines


class Reading(NamedTuple):
    """How the cells of a column are read.

    Attributes:
        kind: number, date, text or category; "" if nothing was chosen.
        format: parses a cell; None: cells are taken as they are written.
        note: what was chosen, a line.
        warning: what may be a mistake, a line.
        error: what has to be set before the column can be used.
    """

    kind: str
    format: NumberFormat | DateFormat | WordFormat | None
    note: str = ""
    warning: str = ""
    error: str = ""


@dataclass(frozen=True)
class Places(Sequence[str]):
    """Where each row stands in several files, formatted only when it is read.

    Attributes:
        files: their names.
        numbers: [N], the file of each row.
        lines: [N], the line of each row in its file; None: each row is a whole file.
    """

    files: Sequence[str]
    numbers: np.ndarray
    lines: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> "Places":
        """Return the places of some rows.

        Args:
            rows: row numbers [n].
        """
        return Places(self.files, self.numbers[rows], None if self.lines is None else self.lines[rows])

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]  # no slices
        file = self.files[int(self.numbers[row])]
        return file if self.lines is None else f"{file}:{self.lines[row]}"


@dataclass(frozen=True)
class Sheet:
    """The content of a user's file or folder: N rows in its order.

    Attributes:
        name: of the file, "my.csv", or folder.
        columns: cells by column name; an empty cell is None.
        lines: [N] int64, line number of each row; of several files together.
        problems: why a row as a whole cannot be used, by row number.
        readings: how columns were read that are not taken as they are written.
        date_features: what encoders read of a column of dates, by column and feature.
        places: of the rows, where they are those of several files.
        derived: columns that come from the names of folders and files; they are never modalities.
    """

    name: str
    columns: dict[str, PackedValues[object]]
    lines: np.ndarray
    problems: dict[int, str]
    readings: Mapping[str, Reading] = field(default_factory=dict)
    date_features: Mapping[str, dict[str, PackedValues[object]]] = field(default_factory=dict)
    places: Places | None = None
    derived: frozenset[str] = frozenset()

    def head(self) -> "Sheet":
        """Return the first rows, from which kinds are inferred."""
        columns = {name: column.head(SAMPLE_ROWS) for name, column in self.columns.items()}
        problems = {row: problem for row, problem in self.problems.items() if row < SAMPLE_ROWS}
        places = None if self.places is None else self.places.take(np.arange(min(SAMPLE_ROWS, len(self.places))))
        return replace(self, columns=columns, lines=self.lines[:SAMPLE_ROWS], problems=problems, places=places)

    def columns_read_as(self, kind: str) -> list[str]:
        """Return the columns with a reading of one kind, without those in which the cells show it.

        Args:
            kind: number, date, text or category.
        """
        return [name for name, reading in self.readings.items() if reading.kind == kind and reading.format is None]

    def locate_rows(self, columns: Sequence[str] = ()) -> "Locations":
        """Return the location of each row: "my.csv:17", or "my.csv:17: column 'photo'".

        Args:
            columns: names to append.
        """
        if not columns:
            return Locations(self.name, self.lines, "", self.places)
        names = ", ".join(f"'{column}'" for column in columns[:MAX_NAMED])
        names += f" and {len(columns) - MAX_NAMED} more" if len(columns) > MAX_NAMED else ""
        suffix = f": column{'s' if len(columns) > 1 else ''} {names}"
        return Locations(self.name, self.lines, suffix, self.places)


@dataclass(frozen=True)
class Locations(Sequence[str]):
    """The location of each row as text, formatted only when it is read.

    Attributes:
        name: of the file.
        lines: [N] int64.
        suffix: follows the line number.
        places: of the rows, where they are those of several files.
    """

    name: str
    lines: np.ndarray
    suffix: str
    places: Places | None = None

    def take(self, rows: np.ndarray) -> "Locations":
        """Return the locations of some rows.

        Args:
            rows: row numbers [n].
        """
        places = None if self.places is None else self.places.take(rows)
        return Locations(self.name, self.lines[rows], self.suffix, places)

    def locate(self, row: int) -> str:
        """Return the location of a row without its columns.

        Args:
            row: its number.
        """
        return f"{self.name}:{self.lines[row]}" if self.places is None else self.places[row]

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]  # no slices
        return self.locate(row) + self.suffix


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
    sheet = _build_sheet(name, _group_rows(islice(rows, limit), name))
    return replace(sheet, places=places.take(np.arange(len(sheet.lines))), derived=derived)


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
    check_header([_normalize_column_name(column) for column in columns], name)
    columns = {_normalize_column_name(column): cells for column, cells in columns.items()}
    return Sheet(name, columns, np.concatenate(lines), problems)


def _append_cells(column: PackedValues[object], cells: "list[object] | pyarrow.Array") -> None:
    """Append cells to a column; empty ones become None."""
    if isinstance(cells, list):
        column.extend([_normalize_cell(cell) for cell in cells])
    else:
        column.extend_array(_normalize_array(cells))


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
        return _group_rows(islice(read_excel(path), limit), path.name)
    chosen = choose_encoding(path, encoding)
    if suffix in (".jsonl", ".ndjson", ".json"):
        return _group_rows(_check_decoding(islice(read_json(path, chosen), limit), path), path.name)
    return _read_csv(path, chosen, limit)


def _check_decoding(rows: Iterator[Row], path: Path) -> Iterator[Row]:
    """Yield the rows; raise an error where the file as a whole is damaged text."""
    try:
        yield from rows
    except UnicodeError as error:
        raise _decoding_error(path, error) from None


def _group_rows(rows: Iterator[Row], file: str) -> Iterator[Chunk]:
    """Turn rows into chunks of columns; the first rows decide which columns there are."""
    names: list[str] | None = None
    while chunk := list(islice(rows, CHUNK_SIZE)):
        if names is None:
            names = _column_names(chunk[:SAMPLE_ROWS])
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


def _column_names(rows: Sequence[Row]) -> list[str]:
    """Return the columns of any of the rows, in the order of their first occurrence."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row.cells))
    return list(names)


def _normalize_column_name(name: str) -> str:
    """Return a name without outer spaces, with composed accents: it equals what the user types as dataset.target."""
    return unicodedata.normalize("NFC", name).strip()


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


def _read_csv(path: Path, encoding: str, limit: int | None) -> Iterator[Chunk]:
    """Read a regular file by columns, and another row by row."""
    header = read_header(path, encoding)
    if HAS_ARROW and path.stat().st_size >= MIN_COLUMNAR_BYTES:
        from mmrun.data.sheets.regular_csv import read_columns  # imported late: small files do not need Arrow

        columns = read_columns(path, header, limit)
        if columns is not None:
            return columns
    return _group_rows(_check_decoding(islice(_read_csv_rows(path, header), limit), path), path.name)


def read_header(path: Path, encoding: str) -> CsvHeader:
    """Read the header of a CSV file.

    Args:
        path: the file.
        encoding: of its text.

    Raises:
        DataError: it cannot be decoded, or a name occurs twice.
    """
    csv.field_size_limit(MAX_LINE_BYTES)  # the module's default is 128 Ki
    with open(path, encoding=encoding, errors="surrogateescape", newline="") as file:
        try:
            head = file.read(SAMPLE_LETTERS)
        except UnicodeError as error:
            raise _decoding_error(path, error) from None
        names_delimiter = head[:4].lower() == "sep="  # a line that Excel reads and writes
        delimiter = head[4] if names_delimiter else find_delimiter(head, path.suffix)
        file.seek(0)
        reader = _open_reader(file, path, delimiter)
        try:
            if names_delimiter:
                next(reader)
            names = [_normalize_column_name(name) for name in next(reader, [])]
        except csv.Error as error:
            raise _quoting_error(path, reader.line_num, error) from None
        except UnicodeError as error:
            raise _decoding_error(path, error) from None
    check_header(names, path.name)
    _check_header_encoding(names, path)
    return CsvHeader(names, delimiter, encoding, 1 + names_delimiter, reader.line_num)


def _open_reader(file: IO[str], path: Path, delimiter: str) -> "_csv.Reader":
    return csv.reader(read_lines(file, path.name), delimiter=delimiter, skipinitialspace=True, strict=True)


def _read_csv_rows(path: Path, header: CsvHeader) -> Iterator[Row]:
    with open(path, encoding=header.encoding, errors="surrogateescape", newline="") as file:
        reader = _open_reader(file, path, header.delimiter)
        try:
            for _ in range(header.num_records):
                next(reader, None)
            line = reader.line_num + 1
            for cells in reader:
                if cells:
                    yield _csv_row(line, header.names, cells, path)
                line = reader.line_num + 1
        except csv.Error as error:
            raise _quoting_error(path, reader.line_num, error) from None


def _quoting_error(path: Path, line: int, error: csv.Error) -> DataError:
    return DataError(f"{path.name}:{line}: {error}; fix the quotes of this line")


def _decoding_error(path: Path, error: UnicodeError) -> DataError:
    return DataError(f"{path.name}: cannot be decoded ({error}); save it as UTF-8")


def find_delimiter(head: str, suffix: str) -> str:
    """Return the character that separates the cells of a CSV file.

    Args:
        head: the start of the file.
        suffix: of its name; .tsv is separated by tabs.

    Returns:
        The one that cuts most of the first lines into as many cells as the header, and the header into most.
    """
    if suffix.lower() == ".tsv":
        return "\t"
    lines = head.splitlines(keepends=True)[:SAMPLE_LINES]
    lines = lines[:-1] if len(lines) > 2 and not lines[-1].endswith(("\r", "\n")) else lines  # it may be cut
    scores = {}
    for delimiter in DELIMITERS:
        try:
            widths = [len(cells) for cells in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if cells]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            scores[delimiter] = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
    return max(scores, key=lambda delimiter: scores[delimiter], default=",")


def _check_header_encoding(header: list[str], path: Path) -> None:
    for name in header:
        problem = find_encoding_problem(name, path)
        if problem:
            raise DataError(f"{path.name}:1: the header {problem}")


def _csv_row(line: int, header: list[str], values: list[str], path: Path) -> Row:
    problem = _find_problem(header, values, path)
    cells: dict[str, object] = dict.fromkeys(header) if problem else dict(zip(header, values, strict=True))
    cells.pop("", None)  # an index column has no name
    return Row(line, cells, problem)


def _find_problem(header: list[str], cells: list[str], path: Path) -> str:
    """Return what is wrong with a line as a whole, or "" if nothing is."""
    if len(cells) != len(header):
        return f"has {len(cells)} cells, but the header has {len(header)}; quote cells that contain the separator"
    for name, cell in zip(header, cells, strict=True):
        problem = "" if cell.isascii() else find_encoding_problem(cell, path)
        if problem:
            return f"column '{name}': {problem}"
    return ""
