"""Reads a user's CSV, JSON Lines or Parquet file into named columns of cells, with the line number of each row."""

import csv
import math
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, AnyStr, NamedTuple

import numpy as np

from mmrun.data.encoding import SAMPLE_BYTES, choose_encoding, describe_guess
from mmrun.data.limits import MAX_LINE_BYTES, check_parquet, parse_json
from mmrun.data.packed import CHUNK_SIZE, MIN_PACKED, PackedValues, release_memory
from mmrun.errors import DataError

if TYPE_CHECKING:
    import _csv

    import pyarrow

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
MIN_COLUMNAR_BYTES = 1 << 18  # of a CSV file; a smaller one is read at once either way
COLUMNAR_ROWS = 1 << 16  # rows of a Parquet file read at a time
SAMPLE_ROWS = 1000  # first rows, from which kinds and tasks of columns are inferred
MAX_NAMED = 6  # columns in a location
DELIMITERS = (",", ";", "\t", "|")
SAMPLE_LINES = 20  # first lines, from which the delimiter is inferred
SAMPLE_LETTERS = 1 << 16  # of these lines


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


@dataclass(frozen=True)
class Sheet:
    """The content of a user's file: N rows in the order of the file.

    Attributes:
        name: of the file, "my.csv".
        columns: cells by column name; an empty cell is None.
        lines: [N] int64, line number of each row.
        problems: why a row as a whole cannot be used, by row number.
    """

    name: str
    columns: dict[str, PackedValues[object]]
    lines: np.ndarray
    problems: dict[int, str]

    def locate_rows(self, columns: Sequence[str] = ()) -> "Locations":
        """Return the location of each row: "my.csv:17", or "my.csv:17: column 'photo'".

        Args:
            columns: names to append.
        """
        if not columns:
            return Locations(self.name, self.lines, "")
        names = ", ".join(f"'{column}'" for column in columns[:MAX_NAMED])
        names += f" and {len(columns) - MAX_NAMED} more" if len(columns) > MAX_NAMED else ""
        return Locations(self.name, self.lines, f": column{'s' if len(columns) > 1 else ''} {names}")


@dataclass(frozen=True)
class Locations(Sequence[str]):
    """The location of each row as text, formatted only when it is read.

    Attributes:
        name: of the file.
        lines: [N] int64.
        suffix: follows the line number.
    """

    name: str
    lines: np.ndarray
    suffix: str

    def take(self, rows: np.ndarray) -> "Locations":
        """Return the locations of some rows.

        Args:
            rows: row numbers [n].
        """
        return Locations(self.name, self.lines[rows], self.suffix)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]  # no slices
        return f"{self.name}:{self.lines[row]}{self.suffix}"


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
    columns: dict[str, PackedValues[object]] = {}
    lines: list[np.ndarray] = []
    problems: dict[int, str] = {}
    num_rows = 0
    for chunk in _read_chunks(path, limit, encoding):
        columns = columns or {name: PackedValues() for name in chunk.columns}  # later chunks have the same
        for name, column in columns.items():
            _append_cells(column, chunk.columns[name])
        for row, problem in chunk.problems.items():
            problems[num_rows + row] = problem
        lines.append(np.array(chunk.lines, dtype=np.int64))
        num_rows += len(chunk.lines)
    if num_rows == 0:
        raise DataError(f"{path}: has no rows; it needs a header and at least one row")
    release_memory()
    _check_header([_normalize_column_name(name) for name in columns], path.name)
    columns = {_normalize_column_name(name): column for name, column in columns.items()}
    return Sheet(path.name, columns, np.concatenate(lines), problems)


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
        return _read_parquet(path, limit)
    chosen = choose_encoding(path, encoding)
    if suffix in (".jsonl", ".ndjson"):
        return _group_rows(_check_decoding(islice(_read_json_lines(path, chosen), limit), path))
    return _read_csv(path, chosen, limit)


def _check_decoding(rows: Iterator[Row], path: Path) -> Iterator[Row]:
    """Yield the rows; raise an error where the file as a whole is damaged text."""
    try:
        yield from rows
    except UnicodeError as error:
        raise _decoding_error(path, error) from None


def _group_rows(rows: Iterator[Row]) -> Iterator[Chunk]:
    """Turn rows into chunks of columns; the first rows decide which columns there are."""
    names: list[str] | None = None
    while chunk := list(islice(rows, CHUNK_SIZE)):
        if names is None:
            names = _column_names(chunk[:SAMPLE_ROWS])
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
    return None if isinstance(value, float) and math.isnan(value) else value


def _normalize_array(cells: "pyarrow.Array") -> "pyarrow.Array":
    """Return an array in which empty cells and NaN are null."""
    from pyarrow import compute, types

    if types.is_floating(cells.type):
        is_empty = compute.is_nan(cells)
    elif types.is_string(cells.type) or types.is_large_string(cells.type):
        is_empty = compute.equal(compute.utf8_trim_whitespace(cells), "")
    else:
        return cells
    return compute.if_else(is_empty, None, cells) if compute.any(is_empty).as_py() else cells


def _read_csv(path: Path, encoding: str, limit: int | None) -> Iterator[Chunk]:
    """Read a regular file by columns, and another row by row."""
    header = _read_header(path, encoding)
    if path.stat().st_size >= MIN_COLUMNAR_BYTES:
        from mmrun.data.regular_csv import read_columns  # imported late: small files do not need Arrow

        columns = read_columns(path, header, limit)
        if columns is not None:
            return columns
    return _group_rows(_check_decoding(islice(_read_csv_rows(path, header), limit), path))


def _read_header(path: Path, encoding: str) -> CsvHeader:
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
    _check_header(names, path.name)
    _check_header_encoding(names, path)
    return CsvHeader(names, delimiter, encoding, 1 + names_delimiter, reader.line_num)


def _open_reader(file: IO[str], path: Path, delimiter: str) -> "_csv.Reader":
    return csv.reader(_read_lines(file, path.name), delimiter=delimiter, skipinitialspace=True, strict=True)


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
        problem = _find_encoding_problem(name, path)
        if problem:
            raise DataError(f"{path.name}:1: the header {problem}")


def _check_header(header: list[str], file: str) -> None:
    duplicates = [name for name, count in Counter(header).items() if name and count > 1]
    if duplicates:
        raise DataError(f"{file}:1: column '{min(duplicates)}' occurs twice; rename one")


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
        problem = "" if cell.isascii() else _find_encoding_problem(cell, path)
        if problem:
            return f"column '{name}': {problem}"
    return ""


def _read_lines(file: IO[AnyStr], name: str) -> Iterator[AnyStr]:
    """Yield the lines of an open file."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES:
            raise DataError(f"{name}:{number}: is longer than {MAX_LINE_BYTES >> 20} MiB; is it a text file?")
        yield line


def _find_encoding_problem(text: str, path: Path) -> str:
    """Return what is wrong with a text that could not be decoded, or ""; undecoded bytes are lone surrogates."""
    if not any("\udc80" <= letter <= "\udcff" for letter in text):
        return ""
    with open(path, "rb") as file:
        sample = file.read(SAMPLE_BYTES)
    content = text.encode("utf-8", "surrogateescape")
    return f"is not UTF-8 text; {describe_guess(content, sample)}"


def _read_json_lines(path: Path, encoding: str) -> Iterator[Row]:
    with open(path, encoding=encoding, errors="surrogateescape", newline="\n") as file:
        for line, content in enumerate(_read_lines(file, path.name), start=1):
            if content.strip():
                yield _json_row(line, content, path)


def _json_row(line: int, content: str, path: Path) -> Row:
    problem = "" if content.isascii() else _find_encoding_problem(content.strip(), path)
    if problem:
        return Row(line, {}, problem)
    try:
        cells = parse_json(content)
    except ValueError as error:
        return Row(line, {}, f"is not JSON ({error}); write one object per line")
    if not isinstance(cells, dict):
        return Row(line, {}, "is not a JSON object; write one object per line")
    return Row(line, cells, "")


def _read_parquet(path: Path, limit: int | None) -> Iterator[Chunk]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    start = 0
    try:
        with ParquetFile(path) as file:
            check_parquet(file.metadata, path.stat().st_size, path.name)
            _check_header(file.schema_arrow.names, path.name)
            for batch in file.iter_batches(COLUMNAR_ROWS if limit is None else min(limit, COLUMNAR_ROWS)):
                part = batch if limit is None else batch.slice(0, limit - start)
                columns = {
                    name: _to_cells(column) for name, column in zip(part.schema.names, part.columns, strict=True)
                }
                yield Chunk(np.arange(start + 1, start + len(part) + 1), columns, {})
                start += len(part)
                if start == limit:
                    break
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path.name}: is damaged or not a Parquet file ({type(error).__name__}); write it again"
        ) from None


def _to_cells(column: "pyarrow.Array") -> "list[object] | pyarrow.Array":
    """Return a column of a Parquet file as it is if it holds plain values, else as Python objects."""
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    is_text = types.is_string(column.type) or types.is_large_string(column.type)
    is_plain = (
        is_text or types.is_integer(column.type) or types.is_floating(column.type) or types.is_boolean(column.type)
    )
    cells: list[object] | pyarrow.Array = column if is_plain and len(column) >= MIN_PACKED else column.to_pylist()
    return cells
