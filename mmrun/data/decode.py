"""Decodes the rows of a column in order, files by threads; rows that cannot be decoded are listed with the reasons."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from mmrun.data.table import Column
from mmrun.data_types import Arrays, Preprocessor
from mmrun.errors import DataError

CHUNK_SIZE = 64  # rows decoded between two writes, if one by one
WHOLE_CHUNK_SIZE = 8192  # if all at once
CHUNKS_AHEAD = 2  # decoded while another one is written


def build_blank(column: Column, preprocessor: Preprocessor) -> Arrays:
    """Return the arrays of a missing row: zeros, in the shapes of the first row that can be decoded.

    Args:
        column: raw values.
        preprocessor: decodes them.

    Raises:
        DataError: no row can be decoded.
    """
    for row in range(len(column.values)):  # iterating would make Python objects of thousands of rows
        value = column.values[row]
        try:
            if value is not None:
                return {name: np.zeros_like(array) for name, array in preprocessor.decode(value).items()}
        except DataError:
            continue  # reported when all rows are decoded
    start = "" if column.locations is None else f"from {column.locations[0]} on, "
    raise DataError(
        f"{start}no row has a readable {column.kind}; fix the column, or leave it out with modalities=[...]"
    )


def try_decode(column: Column, preprocessor: Preprocessor, blank: Arrays, row: int) -> Arrays | str:
    """Decode one row, or return where and why that fails.

    Args:
        column: raw values.
        preprocessor: decodes them.
        blank: arrays of a missing row.
        row: its number.
    """
    value = column.values[row]
    try:
        return blank if value is None else preprocessor.decode(value)
    except DataError as error:
        return f"{column.locate(row)}: {error}"


def decode_chunks(
    column: Column, preprocessor: Preprocessor, blank: Arrays, start: int = 0
) -> Iterator[tuple[Arrays, dict[int, str]]]:
    """Decode rows in order; yield the arrays [n, ...] of each chunk, and its bad rows with the reasons.

    Args:
        column: raw values.
        preprocessor: decodes them.
        blank: arrays of a missing row.
        start: number of the first row.
    """
    decode_rows = getattr(preprocessor, "decode_rows", None)
    take = getattr(column.values, "take", None)
    if decode_rows is None or take is None:
        yield from _decode_one_by_one(column, preprocessor, blank, range(start, len(column.values)))
        return
    for first in range(start, len(column.values), WHOLE_CHUNK_SIZE):
        rows = range(first, min(first + WHOLE_CHUNK_SIZE, len(column.values)))
        arrays = decode_rows(take(np.arange(rows.start, rows.stop)))
        if arrays is not None:
            yield arrays, {}
        else:
            yield from _decode_one_by_one(column, preprocessor, blank, rows)


def _decode_one_by_one(
    column: Column, preprocessor: Preprocessor, blank: Arrays, rows: range
) -> Iterator[tuple[Arrays, dict[int, str]]]:
    """Decode some rows, files by threads; yield as `decode_chunks` does."""
    decode_row = partial(try_decode, column, preprocessor, blank)
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as pool:
        map_rows = pool.map if column.from_files else map
        pending: deque[Iterator[Arrays | str]] = deque()
        start = rows.start
        for next_start in range(rows.start, rows.stop, CHUNK_SIZE):
            pending.append(map_rows(decode_row, range(next_start, min(next_start + CHUNK_SIZE, rows.stop))))
            if len(pending) > CHUNKS_AHEAD:
                yield _collect_chunk(pending.popleft(), blank, start)
                start += CHUNK_SIZE
        for results in pending:
            yield _collect_chunk(results, blank, start)
            start += CHUNK_SIZE


def _collect_chunk(results: Iterable[Arrays | str], blank: Arrays, start: int) -> tuple[Arrays, dict[int, str]]:
    """Stack the arrays of decoded rows, the first of which has the number `start`; list the bad ones."""
    decoded: list[Arrays] = []
    bad: dict[int, str] = {}
    for row, result in enumerate(results, start):
        if isinstance(result, str):
            bad[row] = result
        decoded.append(blank if isinstance(result, str) else result)
    return stack_rows(decoded, blank), bad


def stack_rows(rows: Sequence[Arrays], parts: Iterable[str]) -> Arrays:
    """Return the arrays of several rows as one by part [n, ...].

    Args:
        rows: arrays of each.
        parts: names of the arrays.
    """
    stacked = {}
    for part in parts:
        stacked[part] = np.stack([arrays[part] for arrays in rows])
    return stacked
