"""Columns of cells in little memory: a million strings or numbers as their bare bytes, not as Python objects."""

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

PIECE = 4096  # values packed at a time
LEAST = 1024  # fewer stay a list
PLAIN = {str, int, float, bool}


class Packed(Sequence[Any]):
    """Values in the order in which they were given, and equal to them; None among them.

    A piece of strings, whole numbers, floats, truth values or paths alone is kept as an Arrow array; what is of another
    type, or of several, is kept as it is.
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self._starts: list[int] = []  # of each piece
        self._pieces: list[Sequence[Any]] = []
        self._length = 0
        rest = iter(values)
        while piece := list(islice(rest, PIECE)):
            self.extend(piece)

    def extend(self, values: list[Any]) -> None:
        """Append a piece."""
        self._starts.append(self._length)
        self._pieces.append(_packed(values))
        self._length += len(values)

    def taken(self, rows: np.ndarray) -> "Packed":
        """Return the values of some rows, ascending."""
        return self if len(rows) == len(self) else Packed(self[row] for row in rows.tolist())

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: Any) -> Any:
        piece = bisect_right(self._starts, row) - 1
        return self._pieces[piece][row - self._starts[piece]]

    def __iter__(self) -> Iterator[Any]:
        for piece in self._pieces:
            yield from piece


class Records(Sequence[Any]):
    """Several columns as rows: a dict of cells, or None where all of them are empty."""

    def __init__(self, columns: dict[str, Packed]) -> None:
        self.columns = columns

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any] | None]) -> "Records":
        """Return rows as columns; those of the first row that is not None."""
        if isinstance(rows, Records):
            return rows
        names = next((list(row) for row in rows if row is not None), [])
        return cls({name: Packed(None if row is None else row[name] for row in rows) for name in names})

    def taken(self, rows: np.ndarray) -> "Records":
        """Return some rows, ascending."""
        return Records({name: column.taken(rows) for name, column in self.columns.items()})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, row: Any) -> Any:
        return self._record([column[row] for column in self.columns.values()])

    def __iter__(self) -> Iterator[dict[str, Any] | None]:
        return map(self._record, zip(*self.columns.values(), strict=True))

    def _record(self, cells: Sequence[Any]) -> dict[str, Any] | None:
        empty = all(cell is None for cell in cells)
        return None if empty else dict(zip(self.columns, cells, strict=True))


class _Array(Sequence[Any]):
    """An Arrow array as a sequence of what it was made of."""

    def __init__(self, array: Any, are_paths: bool) -> None:  # pyarrow.Array
        self._array, self._are_paths = array, are_paths

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, place: Any) -> Any:
        return self._value(self._array[place].as_py())

    def __iter__(self) -> Iterator[Any]:
        return map(self._value, self._array.to_pylist()) if self._are_paths else iter(self._array.to_pylist())

    def _value(self, value: Any) -> Any:
        return Path(value) if self._are_paths and value is not None else value


def present(values: Sequence[Any]) -> np.ndarray:  # [N] bool
    """Return which values are not None; of records, which have a cell that is not."""
    if isinstance(values, Records) and values.columns:
        there: np.ndarray = np.any([present(column) for column in values.columns.values()], axis=0)
        return there
    return np.fromiter((value is not None for value in values), dtype=bool, count=len(values))


def release() -> None:
    """Release the memory of freed columns to the system; Arrow keeps it otherwise."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()


def _packed(values: list[Any]) -> Sequence[Any]:
    types = set(map(type, values)) - {type(None)}
    are_paths = types == {type(Path())}
    if len(values) < LEAST or len(types) != 1 or not (are_paths or types <= PLAIN):
        return values
    import pyarrow  # late: small files do without it

    plain = [None if path is None else str(path) for path in values] if are_paths else values
    try:
        return _Array(pyarrow.array(plain), are_paths)
    except (pyarrow.ArrowException, OverflowError, UnicodeError):  # whole numbers beyond 64 bits, torn letters
        return values
