"""Columns of cells in little memory: a million strings or numbers stored as an Arrow array, not as Python objects."""

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    import pyarrow

CHUNK_SIZE = 4096  # values packed at a time
MIN_PACKED = 1024  # shorter chunks stay a list
HAS_ARROW = find_spec("pyarrow") is not None  # rows beside an exported model are read without it
MAX_PACKED_BYTES = 1 << 28  # of the texts of a chunk; longer ones stay Python objects, which equal ones share
PLAIN_TYPES = {str, int, float, bool}

T = TypeVar("T")
S = TypeVar("S")
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

    @classmethod
    def from_codes(cls, values: Sequence[T], codes: np.ndarray) -> "PackedValues[T | None]":
        """Return a column that repeats a few values.

        Args:
            values: different ones.
            codes: number of each row's value [N]; -1 for None.
        """
        column: PackedValues[T | None] = PackedValues()
        packed = _pack_plain([*values, None])
        if isinstance(packed, _ArrowValues) and not _is_bulky(packed.array, codes):
            column._append(packed.take(codes % len(packed)))
        else:
            choices = np.fromiter([*values, None], dtype=object, count=len(values) + 1)
            column._append(choices[codes].tolist())
        return column

    @staticmethod
    def from_numbers(numbers: np.ndarray) -> "PackedValues[float | None]":
        """Return numbers as a column.

        Args:
            numbers: [N] float64; NaN becomes None.
        """
        import pyarrow

        column: PackedValues[float | None] = PackedValues()
        column.extend_array(pyarrow.array(numbers, from_pandas=True))
        return column

    def extend(self, values: list[T]) -> None:
        """Append a chunk.

        Args:
            values: packed together, at best about CHUNK_SIZE of them.
        """
        self._append(_pack(values))

    def extend_array(self, array: "pyarrow.Array") -> None:
        """Append a chunk without making Python objects of it.

        Args:
            array: of strings, integers, floats or booleans; null is None.
        """
        self._append(_ArrowValues(array, are_paths=False))

    def _append(self, chunk: Sequence[T]) -> None:
        self._starts.append(self._length)
        self._chunks.append(chunk)
        self._length += len(chunk)

    def arrays(self) -> "list[pyarrow.Array] | None":
        """Return the chunks as Arrow arrays of strings, integers, floats or booleans, for work on whole columns.

        Returns:
            None where a chunk holds other or mixed types, or where there are too few values to be worth it.
        """
        if not HAS_ARROW:
            return None
        if self._length < MIN_PACKED and not any(isinstance(chunk, _ArrowValues) for chunk in self._chunks):
            return None
        arrays = []
        for chunk in self._chunks:
            packed = chunk if isinstance(chunk, _ArrowValues) else _pack_plain(cast(list[T], chunk), with_empty=True)
            if not isinstance(packed, _ArrowValues) or packed.are_paths:
                return None
            arrays.append(packed.array)
        return arrays

    def drop_empty(self) -> "PackedValues[T]":
        """Return the values that are not None."""
        arrays = self.arrays()
        if arrays is not None and not any(array.null_count for array in arrays):
            return self
        return self.take(np.flatnonzero(is_present(self)))

    def holds(self, kind: type) -> bool:
        """Return whether any value is of a type that no Arrow array can hold.

        Args:
            kind: other than strings, integers, floats, booleans and paths.
        """
        loose = (chunk for chunk in self._chunks if not isinstance(chunk, _ArrowValues))
        return any(isinstance(value, kind) for value in chain.from_iterable(loose))

    def head(self, length: int) -> "PackedValues[T]":
        """Return the first values.

        Args:
            length: their number, if there are so many.
        """
        if length >= self._length:
            return self
        selection: PackedValues[T] = PackedValues()
        for start, chunk in zip(self._starts, self._chunks, strict=True):
            if start < length:
                selection._append(chunk[: length - start])
        return selection

    def take(self, rows: np.ndarray) -> "PackedValues[T]":
        """Return the values of some rows.

        Args:
            rows: row numbers [n], ascending and unique.
        """
        if len(rows) == len(self):
            return self
        selection: PackedValues[T] = PackedValues()
        ends = np.searchsorted(rows, [*self._starts[1:], self._length])
        start = 0
        for first, chunk, end in zip(self._starts, self._chunks, ends.tolist(), strict=True):
            if end > start:
                positions = rows[start:end] - first
                selection._append(_take(chunk, positions))
            start = end
        return selection

    def map(self, convert: Callable[[T], S]) -> np.ndarray:
        """Convert each value, equal ones only once where that is known to be the same.

        Args:
            convert: value -> result; None is converted too.

        Returns:
            [N] objects.
        """
        encoded = self.encode()
        if encoded is None:
            return np.fromiter(map(convert, self), dtype=object, count=len(self))
        values = [*encoded.values, None]
        results: np.ndarray = np.fromiter(map(convert, cast(list[T], values)), dtype=object, count=len(values))
        return cast(np.ndarray, results[encoded.codes])

    def list_different(self) -> Sequence[T]:
        """Return the values without None, and without repetitions where they are known to be the same."""
        encoded = self.encode()
        return list(self.drop_empty()) if encoded is None else cast(Sequence[T], encoded.values)

    def encode(self) -> "Encoded | None":
        """Return the different values, and which of them each row has; None where `arrays` is None."""
        arrays = self.arrays()
        if arrays is None:
            return None
        import pyarrow

        types = {array.type for array in arrays} - {pyarrow.null()}
        if len(types) != 1:
            return None  # 1 and 1.0 are equal, but two values
        kind = types.pop()
        encoded = pyarrow.concat_arrays([array.cast(kind) for array in arrays]).dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return Encoded(encoded.dictionary, codes)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> T:  # type: ignore[override]  # no slices
        chunk = bisect_right(self._starts, row) - 1
        return self._chunks[chunk][row - self._starts[chunk]]

    def __iter__(self) -> Iterator[T]:
        for chunk in self._chunks:
            yield from chunk


class Encoded(NamedTuple):
    """A column as its different values.

    Attributes:
        dictionary: the values, in the order of their first occurrence, without None.
        codes: [N], number of each row's value; -1 for None.
    """

    dictionary: "pyarrow.Array"
    codes: np.ndarray

    @property
    def values(self) -> list[object]:
        """The different values as Python objects."""
        return self.dictionary.to_pylist()  # type: ignore[no-any-return]

    @property
    def are_numbers(self) -> bool:
        """Whether the values are integers or floats."""
        from pyarrow import types

        return bool(types.is_integer(self.dictionary.type) or types.is_floating(self.dictionary.type))


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
        self.array, self.are_paths = array, are_paths

    def take(self, rows: np.ndarray) -> "_ArrowValues[T]":
        return _ArrowValues(self.array.take(_to_indices(rows)), self.are_paths)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, position: int | slice) -> T | "_ArrowValues[T]":  # type: ignore[override]
        if isinstance(position, slice):
            return _ArrowValues(self.array[position], self.are_paths)
        return self._restore(self.array[position].as_py())

    def __iter__(self) -> Iterator[T]:
        for start in range(0, len(self.array), CHUNK_SIZE):
            values: list[T] = self.array.slice(start, CHUNK_SIZE).to_pylist()
            yield from map(self._restore, values) if self.are_paths else values

    def _restore(self, value: T) -> T:
        return cast(T, Path(str(value))) if self.are_paths and value is not None else value


def is_present(values: Sequence[object]) -> np.ndarray:
    """Return which values are not missing.

    Args:
        values: None is missing; a record is missing where all its cells are None.

    Returns:
        [N] bool.
    """
    if isinstance(values, Records) and values.columns:
        present = np.zeros(len(values), dtype=bool)
        for column in values.columns.values():
            present |= is_present(column)
            if present.all():
                break
        return present
    arrays = values.arrays() if isinstance(values, PackedValues) else None
    if arrays:
        return np.concatenate([array.is_valid().to_numpy(zero_copy_only=False) for array in arrays])
    return np.fromiter((value is not None for value in values), dtype=bool, count=len(values))


def release_memory() -> None:
    """Return the memory of freed columns to the operating system; Arrow's memory pool would keep it."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()


def _pack(values: list[T]) -> Sequence[T]:
    return _pack_plain(values) if HAS_ARROW and len(values) >= MIN_PACKED else values


def _pack_plain(values: list[T], with_empty: bool = False) -> Sequence[T]:
    """Return an Arrow array if all values are of one type that it can hold, else the values.

    Args:
        values: to pack.
        with_empty: whether to pack them if all are None.
    """
    types = set(map(type, values)) - {type(None)}
    are_paths = types == {type(Path())}
    if len(types) != 1 and not (with_empty and not types):
        return values
    if not (are_paths or types <= PLAIN_TYPES):
        return values
    import pyarrow  # imported late: small files do not need it

    plain = [None if path is None else str(path) for path in values] if are_paths else values
    if types == {str} and sum(len(text) for text in cast(list[str | None], plain) if text) > MAX_PACKED_BYTES:
        return values
    try:
        return _ArrowValues(pyarrow.array(plain), are_paths)
    except (pyarrow.ArrowException, OverflowError, UnicodeError):  # integers beyond 64 bits, lone surrogates
        return values


def _is_bulky(array: "pyarrow.Array", codes: np.ndarray) -> bool:
    """Return whether texts that are repeated as some codes say take too much memory."""
    from pyarrow import compute, types

    if not (types.is_string(array.type) or types.is_large_string(array.type)):
        return False
    lengths = compute.binary_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    return bool(lengths[codes].sum(dtype=np.int64) > MAX_PACKED_BYTES)


def _take(chunk: Sequence[T], positions: np.ndarray) -> Sequence[T]:
    return chunk.take(positions) if isinstance(chunk, _ArrowValues) else [chunk[i] for i in positions.tolist()]


def _to_indices(rows: np.ndarray) -> "pyarrow.Array":
    import pyarrow

    return pyarrow.array(rows)
