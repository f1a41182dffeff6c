"""Reads rows one by one, those that lie in files by several threads."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from mmrun.data.table import Column
from mmrun.errors import DataError

CHUNK_SIZE = 1024  # rows that are given to threads at a time

T = TypeVar("T")


def map_rows(column: Column, rows: Iterable[int], read: Callable[[Any], T]) -> Iterator[T | DataError | None]:
    """Yield what is read of each row: None where it is missing, the error where it cannot be read.

    Args:
        column: raw values.
        rows: row numbers.
        read: is given one raw value.
    """

    def try_read(row: int) -> T | DataError | None:
        value = column.values[row]
        try:
            return None if value is None else read(value)
        except DataError as error:
            return error

    if not column.from_files:
        yield from map(try_read, rows)
        return
    numbers = iter(rows)
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="rows") as pool:
        while chunk := list(islice(numbers, CHUNK_SIZE)):
            yield from pool.map(try_read, chunk)
