"""A short digest of every cell of a data set: it does not identify the data, but shows which rows have changed."""

import hashlib
import os
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import numpy as np

from mmrun.data.file_digests import FileDigests
from mmrun.data.fitted import Fit
from mmrun.data.items import FrameList, ItemList, list_paths
from mmrun.data.packed import PackedValues, Records
from mmrun.data.sheets.sheet import Locations
from mmrun.data.subfiles import name_file
from mmrun.data.table import CLASSES, Table, Target

if TYPE_CHECKING:
    import pyarrow

MAX_NAMED_PARTS = 4  # in a message
ABSENT = 0  # digest of an empty cell
CRC32_POLYNOMIAL = 0xEDB88320
FNV_PRIME = np.uint32(16777619)  # odd, so that a change of one cell always changes the digest of its row


class DataRecord(NamedTuple):
    """What a run was trained on.

    Attributes:
        fingerprint: of the data set.
        rows: [N] uint32, a digest of each row, by part: input.image, cells.tabular, samples.audio, target.label, split,
            group, id.
        fits: what was fitted to the training rows, by part: encoder.text, task.label; empty where that is not known.
    """

    fingerprint: str
    rows: dict[str, np.ndarray]
    fits: Mapping[str, Fit] = MappingProxyType({})


def record_data(table: Table, files: FileDigests) -> DataRecord:
    """Describe a data set by digests.

    Args:
        table: with its raw columns.
        files: digests of the files that it names.
    """
    rows = {"split": _digest_names(table.split.tolist())}
    for name, target in table.targets.items():
        rows[f"target.{name}"] = _digest_target(target)
    for name, column in table.columns.items():
        if isinstance(column.values, Records):
            rows[f"cells.{name}"] = _digest_records(column.values)
        elif _holds_samples(column.values):  # version 0.1.0 called it "input.", and did not cover all samples
            rows[f"samples.{name}"] = _digest_values(column.values, files)
        else:
            rows[f"input.{name}"] = _digest_values(column.values, files)
    if table.groups is not None:
        rows["group"] = _digest_values(table.groups.tolist(), files)
    if not isinstance(table.ids, Locations):
        rows["id"] = _digest_values(table.ids, files)
    return DataRecord(table.fingerprint, rows)


def hash_rows(record: DataRecord) -> str:
    """Return a hash of a fingerprint and the digests of all rows.

    Args:
        record: of a data set.
    """
    whole = hashlib.sha256(record.fingerprint.encode())
    for part, rows in sorted(record.rows.items()):
        whole.update(part.encode("utf-8", "surrogatepass"))
        whole.update(rows.data)
    return whole.hexdigest()


def _digest_target(target: Target) -> np.ndarray:
    """Return the digests [N] of a target: of class names, not numbers, which other classes would shift."""
    if target.task in CLASSES:
        names = np.array([ABSENT, *(crc32(name.encode()) for name in target.names)], dtype=np.uint32)
        by_row: np.ndarray = names[np.maximum(target.values + 1, 0)]
        return by_row
    rows = np.ascontiguousarray(target.values).reshape(len(target.values), -1)
    return np.fromiter((crc32(row.data) for row in rows), dtype=np.uint32, count=len(rows))


def _digest_names(names: Sequence[str]) -> np.ndarray:
    """Return the digests [N] of names of which there are few."""
    digests = {name: crc32(name.encode()) for name in set(names)}
    return np.fromiter(map(digests.__getitem__, names), dtype=np.uint32, count=len(names))


def _digest_values(values: Sequence[object], files: FileDigests) -> np.ndarray:
    """Return the digests [N] of raw values; that of a path is the digest of the file's content."""
    contents = files.digest(map(str, chain.from_iterable(map(list_paths, values))))
    return np.fromiter((_digest_value(value, contents) for value in values), dtype=np.uint32, count=len(values))


def _holds_samples(values: Sequence[object]) -> bool:
    """Return whether raw values are sounds as (samples, rate)."""
    return type(next((value for value in values if value is not None), None)) is tuple


def _digest_value(value: object, contents: Iterator[str]) -> int:
    """Return the digest of one raw value; that of a path is the next of `contents`."""
    if value is None:
        return ABSENT
    if isinstance(value, Path):
        return crc32(next(contents).encode())
    if isinstance(value, ItemList | FrameList | tuple):
        return crc32(repr([_digest_value(item, contents) for item in value]).encode())
    if isinstance(value, str):
        return crc32(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return crc32(value)
    if isinstance(value, np.ndarray):
        return crc32(np.ascontiguousarray(value).data, crc32(f"{value.dtype} {value.shape}".encode()))
    return crc32(repr(value).encode("utf-8", "surrogatepass"))


# ------------------------------------------------------------------------------------------------- columns of cells


def _digest_records(records: Records) -> np.ndarray:
    """Return the digests [N] of rows of cells, computed column by column."""
    rows = np.zeros(len(records), dtype=np.uint32)
    for cells in records.columns.values():
        rows = rows * FNV_PRIME + _digest_column(cells)
    return rows


def _digest_column(cells: PackedValues[object]) -> np.ndarray:
    """Return the digests [N] of cells: the CRC-32 of a text, or of the 8 bytes of a number."""
    arrays = cells.arrays()
    if arrays is None:
        return np.fromiter(map(_digest_cell, cells), dtype=np.uint32, count=len(cells))
    return np.concatenate([_digest_array(array) for array in arrays])


def _digest_cell(cell: object) -> int:
    if cell is None:
        return ABSENT
    if isinstance(cell, str):
        return crc32(cell.encode("utf-8", "surrogatepass"))
    if isinstance(cell, float) or (isinstance(cell, int) and abs(cell) <= sys.float_info.max):
        return crc32(struct.pack("<d", cell))
    return crc32(repr(cell).encode("utf-8", "surrogatepass"))


def _digest_array(array: "pyarrow.Array") -> np.ndarray:
    """Return what `_digest_cell` returns for each cell of an Arrow array."""
    from pyarrow import ArrowInvalid, binary, compute, float64, large_binary, types

    is_present = array.is_valid().to_numpy(zero_copy_only=False)
    if types.is_null(array.type):
        return np.full(len(array), ABSENT, dtype=np.uint32)
    if types.is_string(array.type) or types.is_large_string(array.type):
        kind = large_binary() if types.is_large_string(array.type) else binary()
        texts = array.cast(kind).fill_null(b"").to_numpy(zero_copy_only=False)  # the CRC-32 of no byte is ABSENT
        return np.fromiter(map(crc32, texts), dtype=np.uint32, count=len(array))
    try:
        numbers = compute.cast(array, float64()).fill_null(0).to_numpy(zero_copy_only=False)
    except ArrowInvalid:  # integers that float64 does not hold exactly
        return np.fromiter(map(_digest_cell, array.to_pylist()), dtype=np.uint32, count=len(array))
    return np.where(is_present, _compute_crcs(numbers), np.uint32(ABSENT))


def _compute_crcs(numbers: np.ndarray) -> np.ndarray:
    """Return the CRC-32 of each number's 8 bytes, of all numbers at once.

    Args:
        numbers: [N] float64.
    """
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(CRC32_POLYNOMIAL), table >> 1)
    crcs = np.full(len(numbers), 0xFFFFFFFF, dtype=np.uint32)
    for byte in np.ascontiguousarray(numbers, dtype="<f8").view(np.uint8).reshape(-1, 8).T:
        crcs = table[(crcs ^ byte) & 0xFF] ^ (crcs >> 8)
    return ~crcs


# ------------------------------------------------------------------------------------------------------- what changed


def describe_changes(before: DataRecord, after: DataRecord, table: Table) -> str:
    """Describe which rows of a data set have changed.

    Args:
        before: what was recorded.
        after: what the table holds now.
        table: with its raw columns, which name rows and files.

    Returns:
        For example "label of 12 rows and image of 3 differ, first my.csv:17 and img/a.png".
    """
    num_before, num_after = len(before.rows["split"]), len(after.rows["split"])
    changed = {}
    for part in before.rows.keys() & after.rows.keys():
        smaller = min(num_before, num_after)
        rows = np.flatnonzero(before.rows[part][:smaller] != after.rows[part][:smaller])
        if len(rows):
            changed[part] = rows
    if num_before != num_after:
        first = min((int(rows[0]) for rows in changed.values()), default=min(num_before, num_after))
        place = _locate(table, "", first) if first < num_after else "after the last row"
        return f"it had {num_before} rows and has {num_after}, the first that differs is {place}"
    other = sorted({_name_part(part) for part in before.rows} ^ {_name_part(part) for part in after.rows})
    if other:
        return f"only one of the two has {', '.join(other)}"
    if len(changed) > 1:
        changed.pop("split", None)  # it follows from the targets, where no column says it
    if not changed and before.rows.keys() != after.rows.keys():
        return "no other part than cells changed, and an earlier version of mmrun recorded cells in another way"
    if not changed:
        return "the rows are the same, but not the columns that are left out, or how the file is read"
    return _list_changes(table, dict(sorted(changed.items(), key=lambda item: _rank_part(item[0]))))


def _list_changes(table: Table, changed: Mapping[str, np.ndarray]) -> str:
    counts, places = [], []
    for part, rows in list(changed.items())[:MAX_NAMED_PARTS]:
        counts.append(f"{_name_part(part)} of {len(rows)} {'row' if len(rows) == 1 else 'rows'}")
        places.append(_locate(table, part, int(rows[0])))
    more = f" and {len(changed) - len(counts)} more columns" if len(changed) > len(counts) else ""
    return f"{', '.join(counts)}{more} changed, first {', '.join(dict.fromkeys(places))}"


def _name_part(part: str) -> str:
    return part.partition(".")[2] or part


def _rank_part(part: str) -> tuple[bool, str]:
    """Sort targets first: they are what is changed by mistake most often."""
    return not part.startswith("target."), part


def _locate(table: Table, part: str, row: int) -> str:
    """Return the name of a row, or of the file that its cell names."""
    kind, _, name = part.partition(".")
    value = table.columns[name].values[row] if kind == "input" else None
    if isinstance(value, Path):
        root = os.path.abspath(table.root or "")
        shown = name_file(value)
        return os.path.relpath(shown, root) if shown.is_relative_to(root) else str(shown)
    column = next(iter(table.columns.values()))
    if isinstance(column.locations, Locations):
        return column.locations.locate(row)
    return column.locate(row)
