"""Reads CSV files: regular ones by columns, others row by row."""

import csv
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mmrun.data.limits import MAX_LINE_BYTES
from mmrun.data.packed import HAS_ARROW
from mmrun.data.sheets.chunks import (
    Chunk,
    CsvHeader,
    Row,
    check_header,
    describe_nameless,
    group_rows,
    normalize_column_name,
)
from mmrun.data.sheets.text_lines import build_decoding_error, check_decoding, find_encoding_problem, read_lines
from mmrun.errors import DataError

if TYPE_CHECKING:
    import _csv

MIN_COLUMNAR_BYTES = 1 << 18  # of a file; a smaller one is read at once either way
DELIMITERS = (",", ";", "\t", "|")
SAMPLE_LINES = 20  # first lines, from which the delimiter is inferred
SAMPLE_LETTERS = 1 << 16  # of these lines


def read_csv(path: Path, encoding: str, limit: int | None) -> Iterator[Chunk]:
    """Read a regular file by columns, and another one row by row.

    Args:
        path: the file.
        encoding: of its text.
        limit: read only so many rows from the start; None: all.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    header = read_header(path, encoding)
    if HAS_ARROW and path.stat().st_size >= MIN_COLUMNAR_BYTES:
        from mmrun.data.sheets.regular_csv import read_columns  # imported late: small files do not need Arrow

        columns = read_columns(path, header, limit)
        if columns is not None:
            return columns
    return group_rows(check_decoding(islice(_read_rows(path, header), limit), path), path.name)


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
            raise build_decoding_error(path, error) from None
        names_delimiter = head[:4].lower() == "sep="  # a line that Excel reads and writes
        delimiter = head[4] if names_delimiter else find_delimiter(head, path.suffix)
        file.seek(0)
        reader = _open_reader(file, path, delimiter)
        try:
            if names_delimiter:
                next(reader)
            names = [normalize_column_name(name) for name in next(reader, [])]
        except csv.Error as error:
            raise _quoting_error(path, reader.line_num, error) from None
        except UnicodeError as error:
            raise build_decoding_error(path, error) from None
    check_header(names, path.name)
    _check_header_encoding(names, path)
    return CsvHeader(names, delimiter, encoding, 1 + names_delimiter, reader.line_num)


def describe_unread(path: Path, encoding: str) -> list[str]:
    """Return a line about columns without a name, or none.

    Args:
        path: the file.
        encoding: of its text.

    Raises:
        DataError: the header cannot be read.
    """
    header = read_header(path, encoding)
    rows = list(islice(_read_raw_rows(path, header), SAMPLE_LINES))
    return describe_nameless(header.names, [cells[0] for cells in rows if cells], path.name)


def _read_raw_rows(path: Path, header: CsvHeader) -> Iterator[list[str]]:
    with open(path, encoding=header.encoding, errors="surrogateescape", newline="") as file, suppress(csv.Error):
        yield from islice(_open_reader(file, path, header.delimiter), header.num_records, None)


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


def _open_reader(file: IO[str], path: Path, delimiter: str) -> "_csv.Reader":
    return csv.reader(read_lines(file, path.name), delimiter=delimiter, skipinitialspace=True, strict=True)


def _read_rows(path: Path, header: CsvHeader) -> Iterator[Row]:
    with open(path, encoding=header.encoding, errors="surrogateescape", newline="") as file:
        reader = _open_reader(file, path, header.delimiter)
        try:
            for _ in range(header.num_records):
                next(reader, None)
            line = reader.line_num + 1
            for cells in reader:
                if cells:
                    yield _build_row(line, header.names, cells, path)
                line = reader.line_num + 1
        except csv.Error as error:
            raise _quoting_error(path, reader.line_num, error) from None


def _build_row(line: int, header: list[str], values: list[str], path: Path) -> Row:
    problem = _find_row_problem(header, values, path)
    cells: dict[str, object] = dict.fromkeys(header) if problem else dict(zip(header, values, strict=True))
    cells.pop("", None)  # an index column has no name
    return Row(line, cells, problem)


def _find_row_problem(header: list[str], cells: list[str], path: Path) -> str:
    """Return what is wrong with a line as a whole, or "" if nothing is."""
    if len(cells) != len(header):
        return f"has {len(cells)} cells, but the header has {len(header)}; quote cells that contain the separator"
    for name, cell in zip(header, cells, strict=True):
        problem = "" if cell.isascii() else find_encoding_problem(cell, path)
        if problem:
            return f"column '{name}': {problem}"
    return ""


def _check_header_encoding(header: list[str], path: Path) -> None:
    for name in header:
        problem = find_encoding_problem(name, path)
        if problem:
            raise DataError(f"{path.name}:1: the header {problem}")


def _quoting_error(path: Path, line: int, error: csv.Error) -> DataError:
    return DataError(f"{path.name}:{line}: {error}; fix the quotes of this line")
