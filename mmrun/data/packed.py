"""Columns of cells in little memory: a million strings or numbers stored as an Arrow array, not as Python objects."""

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    import pyarrow

CHUNK_SIZE = 4096  # values packed at a time
MIN_PACKED = 1024  # shorter chunks stay a list
PLAIN_TYPES = {str, int, float, bool}

T = TypeVar("T")
Record = dict[str, object]  # cells of one row by column name


class PackedValues(Sequence[T]):
    """An append-only sequence of values in little memory; indexing returns values equal to the original ones.

    A chunk that holds only strings, integers, floats, booleans or paths (and None) is stored as an Arrow array. Chunks
    of other or of mixed types are stored as they are.

    Args:
        values: the initial values.
    """

    def __init__(self, values: Iterable[T] = ()) -> None:
        self._starts: list[int] = []  # of each chunk
        self._chunks: list[Sequence[T]] = []
        self._length = 0
        iterator = iter(values)
        while chunk := list(islice(iterator, CHUNK_SIZE)):
            self.extend(chunk)

    def extend(self, values: list[T]) -> None:
        """Append a chunk.

        Args:
            values: packed together, at best about CHUNK_SIZE of them.
        """
        self._starts.append(self._length)
        self._chunks.append(_pack(values))
        self._length += len(values)

    def take(self, rows: np.ndarray) -> "PackedValues[T]":
        """Return the values of some rows.

        Args:
            rows: row numbers [n], ascending and unique.
        """
        return self if len(rows) == len(self) else PackedValues(self[row] for row in rows.tolist())

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> T:  # type: ignore[override]  # no slices
        chunk = bisect_right(self._starts, row) - 1
        return self._chunks[chunk][row - self._starts[chunk]]

    def __iter__(self) -> Iterator[T]:
        for chunk in self._chunks:
            yield from chunk


class Records(Sequence[Record | None]):
    """Several columns as rows: a dict of cells, or None where all cells of a row are empty.

    Args:
        columns: by name, all of one length.
    """

    def __init__(self, columns: Mapping[str, PackedValues[object]]) -> None:
        self.columns = columns

    @classmethod
    def from_rows(cls, rows: Sequence[Record | None]) -> "Records":
        """Return rows as columns.

        Args:
            rows: dicts of cells; the first one that is not None decides which columns there are.
        """
        if isinstance(rows, Records):
            return rows
        columns = {}
        for name in next((row for row in rows if row is not None), {}):
            columns[name] = PackedValues[object](None if row is None else row[name] for row in rows)
        return cls(columns)

    def take(self, rows: np.ndarray) -> "Records":
        """Return some of the rows.

        Args:
            rows: row numbers [n], ascending and unique.
        """
        return Records({name: column.take(rows) for name, column in self.columns.items()})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, row: int) -> Record | None:  # type: ignore[override]  # no slices
        return self._build_record([column[row] for column in self.columns.values()])

    def __iter__(self) -> Iterator[Record | None]:
        return map(self._build_record, zip(*self.columns.values(), strict=True))

    def _build_record(self, cells: Sequence[object]) -> Record | None:
        is_empty = all(cell is None for cell in cells)
        return None if is_empty else dict(zip(self.columns, cells, strict=True))


class _ArrowValues(Sequence[T]):
    """An Arrow array as a sequence of the Python values that it was made from."""

    def __init__(self, array: "pyarrow.Array", are_paths: bool) -> None:
        self._array, self._are_paths = array, are_paths

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, position: int) -> T:  # type: ignore[override]  # no slices
        return self._restore(self._array[position].as_py())

    def __iter__(self) -> Iterator[T]:
        values: list[T] = self._array.to_pylist()
        return map(self._restore, values) if self._are_paths else iter(values)

    def _restore(self, value: T) -> T:
        return cast(T, Path(str(value))) if self._are_paths and value is not None else value


def is_present(values: Sequence[object]) -> np.ndarray:
    """Return which values are not missing.

    Args:
        values: None is missing; a record is missing where all its cells are None.

    Returns:
        [N] bool.
    """
    if isinstance(values, Records) and values.columns:
        present: np.ndarray = np.any([is_present(column) for column in values.columns.values()], axis=0)
        return present
    return np.fromiter((value is not None for value in values), dtype=bool, count=len(values))


def release_memory() -> None:
    """Return the memory of freed columns to the operating system; Arrow's memory pool would keep it."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()


def _pack(values: list[T]) -> Sequence[T]:
    types = set(map(type, values)) - {type(None)}
    are_paths = types == {type(Path())}
    if len(values) < MIN_PACKED or len(types) != 1 or not (are_paths or types <= PLAIN_TYPES):
        return values
    import pyarrow  # imported late: small files do not need it

    plain = [None if path is None else str(path) for path in values] if are_paths else values
    try:
        return _ArrowValues(pyarrow.array(plain), are_paths)
    except (pyarrow.ArrowException, OverflowError, UnicodeError):  # integers beyond 64 bits, lone surrogates
        return values
