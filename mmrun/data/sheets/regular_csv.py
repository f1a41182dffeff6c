"""Reads regular CSV files by columns, with Arrow; whatever is unusual is left to Python's reader, which explains it."""

import mmap
import re
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import compute, csv

from mmrun.data.limits import MAX_LINE_BYTES
from mmrun.data.packed import CHUNK_SIZE
from mmrun.data.sheets.chunks import Chunk, CsvHeader

BLOCK_BYTES = 1 << 24
MAX_BLOCK_BYTES = 1 << 27
CELL_BYTES = 8  # of most numbers, with the delimiter


def read_columns(path: Path, header: CsvHeader, limit: int | None) -> Iterator[Chunk] | None:
    """Read a CSV file by columns.

    Args:
        path: the file.
        header: of the file.
        limit: read only so many rows from the start; None: all.

    Returns:
        The rows, with columns of strings; None where the file is not so regular that Arrow is certain to read it as
        Python does.
    """
    if header.encoding != "utf-8-sig" or header.num_lines != header.num_records:
        return None
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if not _has_short_lines(content):
            return None
        end = len(content) if limit is None else _find_line_end(content, header.num_lines + limit)
        padding = (header.delimiter.encode() + b" ", b"\n ")
        marks = _find_marks(content, (b'"', b"\r", b"\n\n", b"\n\r\n", *padding), end)
        has_quotes, has_spaces = b'"' in marks, not marks.isdisjoint(padding)
        if (limit is not None and has_quotes) or not _is_regular(content, header.delimiter, marks, end):
            return None
        num_lines = _count_lines(content, end)
    table = _parse(path, header, end, has_quotes)
    if table is None:
        return None
    lines = np.arange(table.num_rows, dtype=np.int64) + header.num_lines + 1
    if num_lines - header.num_lines != table.num_rows:  # cells of several lines
        lines[1:] += np.cumsum(_count_inner_lines(table))[:-1]
    return _iterate_chunks(table, header.names, lines, has_spaces)


def _iterate_chunks(
    table: "pyarrow.Table", names: Sequence[str], lines: np.ndarray, has_spaces: bool
) -> Iterator[Chunk]:
    start = 0
    for batch in table.to_batches():
        columns = {name: column for name, column in zip(names, batch.columns, strict=True) if name}
        if has_spaces:
            columns = {name: _trim_start(column) for name, column in columns.items()}
        yield Chunk(lines[start : start + len(batch)], columns, {})
        start += len(batch)


def _parse(path: Path, header: CsvHeader, end: int, has_quotes: bool) -> "pyarrow.Table | None":
    names = [str(number) for number in range(len(header.names))]  # names of the header may be empty
    # A block of a wide table holds a chunk of rows too, so that its many columns are not cut into small arrays
    block_size = min(max(BLOCK_BYTES, len(names) * CHUNK_SIZE * CELL_BYTES), MAX_BLOCK_BYTES)
    read = csv.ReadOptions(column_names=names, skip_rows=header.num_lines, block_size=block_size)
    parse = csv.ParseOptions(delimiter=header.delimiter, newlines_in_values=has_quotes)
    strings = dict.fromkeys(names, pyarrow.string())
    convert = csv.ConvertOptions(column_types=strings, null_values=[], strings_can_be_null=False)
    try:
        with pyarrow.memory_map(str(path)) as file:
            return csv.read_csv(pyarrow.BufferReader(file.read_buffer(end)), read, parse, convert)
    except pyarrow.ArrowException:
        return None


def _has_short_lines(content: mmap.mmap) -> bool:
    """Return whether each block of a file has a line end; a file of zeros may claim to be huge."""
    position = 0
    while position + MAX_LINE_BYTES < len(content):
        position = content.rfind(b"\n", position, position + MAX_LINE_BYTES) + 1
        if position == 0:
            return False
    return True


def _find_line_end(content: mmap.mmap, num_lines: int) -> int:
    """Return where the first lines end."""
    position = 0
    for _ in range(num_lines):
        position = content.find(b"\n", position) + 1
        if position == 0:
            return len(content)
    return position


def _find_marks(content: mmap.mmap, marks: Sequence[bytes], end: int) -> set[bytes]:
    """Return which of a few short texts a file holds, block by block: mmap.find is a slow loop."""
    present: set[bytes] = set()
    overlap = max(map(len, marks)) - 1
    for start in range(0, end, BLOCK_BYTES):
        block = content[start : min(start + BLOCK_BYTES + overlap, end)]
        present |= {mark for mark in marks if mark in block}
    return present


def _is_regular(content: mmap.mmap, delimiter: str, marks: Set[bytes], end: int) -> bool:
    """Return whether a file has no empty lines, no odd quotes, and lines that end in one way."""
    odd = []
    if not marks.isdisjoint((b"\n\n", b"\n\r\n")):
        odd.append(rb"\n\r?\n(?!\s*\Z)")
    if b"\r" in marks:
        odd.append(rb"\r(?!\n)")
    if b'"' in marks:
        boundary = rb"\r\n" + re.escape(delimiter.encode())
        odd += [
            rb'"(?<=[%b] ")' % boundary,  # spaces before a quote
            rb'"(?<=  ")',
            rb'"(?<=[%b]") ' % boundary,  # a quoted cell that starts with a space
            rb'"(?<=[^"%b]")(?:"")*(?=[^"%b])' % (boundary, boundary),  # a quote inside a cell
            rb'"(?<=[%b]")"(?:"")*(?=[^"%b])' % (boundary, boundary),  # letters after the closing quote
        ]
    return not any(re.compile(pattern).search(content, 0, end) for pattern in odd)


def _count_lines(content: mmap.mmap, end: int) -> int:
    """Return the number of lines, without empty ones at the end."""
    while end > 0 and content[end - 1 : end].isspace():
        end -= 1
    return 1 + sum(content[start : min(start + BLOCK_BYTES, end)].count(b"\n") for start in range(0, end, BLOCK_BYTES))


def _count_inner_lines(table: "pyarrow.Table") -> np.ndarray:
    """Return the number of line ends in the cells of each row."""
    counts = np.zeros(table.num_rows, dtype=np.int64)
    for column in table.columns:
        counts += compute.count_substring(column, "\n").to_numpy()
    return counts


def _trim_start(cells: "pyarrow.Array") -> "pyarrow.Array":
    """Return cells without the spaces that they start with."""
    has_space = compute.any(compute.starts_with(cells, " ")).as_py()
    return compute.utf8_ltrim(cells, " ") if has_space else cells
