"""Numbers the contents of a column, so that equal content has equal numbers; files are compared by what they hold."""

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import numpy as np

from mmrun.data.items import list_paths
from mmrun.data.names import normalize_name
from mmrun.data.packed import PackedValues, Records
from mmrun.data.subfiles import open_file, stat_file
from mmrun.data.table import Column

PART_SIZE = 1 << 19  # bytes at either end of a large file by which it is compared with others


def number_contents(column: Column) -> np.ndarray:
    """Number the different contents of a column.

    Args:
        column: raw values.

    Returns:
        [N] int64; -1 where the value is missing.
    """
    if column.kind == "tabular":
        numbers = _number_records(Records.from_rows(column.values))
    elif column.from_files:
        numbers = _number(_digest_files(column.values))
    else:
        numbers = _number_values(column.values)
    return np.where(column.is_present(), numbers, -1)


def combine(columns: Iterable[np.ndarray], num_rows: int) -> np.ndarray:
    """Number the different rows of several columns of numbers.

    Args:
        columns: [N] int64 each, at least -1.
        num_rows: N.

    Returns:
        [N] int64, equal where all columns are.
    """
    combined = np.zeros(num_rows, dtype=np.int64)
    for column in columns:
        if combined.max(initial=0) == num_rows - 1:  # all rows differ already
            break
        combined = np.unique(combined * (column.max(initial=0) + 2) + column + 1, return_inverse=True)[1]
    return combined


def number_cells(cells: PackedValues[object]) -> np.ndarray:
    """Number the cells of a column of a table; they are compared as names, so that 7 and 7.0 are equal.

    Args:
        cells: N of them, None where one is empty.

    Returns:
        [N] int64; -1 where a cell is empty.
    """
    encoded = cells.encode()
    if encoded is None:
        return _number(map(_normalize, cells))
    if encoded.are_numbers:  # different ones have different names
        return encoded.codes.astype(np.int64)
    numbers = np.append(_number(map(_normalize, encoded.values)), -1)
    return np.asarray(numbers[encoded.codes])


def _number_records(records: Records) -> np.ndarray:
    return combine(map(number_cells, records.columns.values()), len(records))


def _number_values(values: Iterable[object]) -> np.ndarray:
    encoded = values.encode() if isinstance(values, PackedValues) else None
    return _number(map(_digest_value, values)) if encoded is None else encoded.codes.astype(np.int64)


def _number(contents: Iterable[Hashable]) -> np.ndarray:
    """Number hashable contents in the order of their first occurrence; None is -1."""
    known: dict[Hashable, int] = {None: -1}
    return np.array([known.setdefault(content, len(known) - 1) for content in contents], dtype=np.int64)


def _normalize(cell: object) -> str | None:
    return None if cell is None else normalize_name(cell)


def _digest_files(values: Iterable[object]) -> Iterable[Hashable]:
    """Yield a digest of each value; a file whose size no other one has is not read."""
    values = list(values)
    sizes = {path: stat_file(path).size for path in chain.from_iterable(map(list_paths, values))}
    num_files = Counter(sizes.values())
    digests: dict[Path, Hashable] = {}
    for path, size in sizes.items():
        digests[path] = _digest_file(path, size) if num_files[size] > 1 else str(path)
    for value in values:
        yield _digest_value(value, digests)


def _digest_value(value: object, digests: Mapping[Path, Hashable] = MappingProxyType({})) -> Hashable:
    """Return a digest of a value; those of files are given."""
    if isinstance(value, Path):
        return digests[value]
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest()
    if isinstance(value, tuple):
        return tuple(_digest_value(part, digests) for part in value)
    return value if isinstance(value, Hashable) else repr(value)


def _digest_file(path: Path, size: int) -> str:
    """Hash the size and both ends of a file."""
    with open_file(path) as file:
        digest = hashlib.sha256(file.read(PART_SIZE))
        file.seek(max(PART_SIZE, size - PART_SIZE))
        digest.update(file.read())
    return f"{size} {digest.hexdigest()}"
