"""A short digest of every cell of a data set: it does not identify the data, but shows which rows have changed."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32

import numpy as np

from mmrun.data.file_digests import FileDigests
from mmrun.data.fitted import Fit
from mmrun.data.packed import Records
from mmrun.data.sheets.sheet import Locations
from mmrun.data.subfiles import name_file
from mmrun.data.table import CLASSES, Table, Target

MAX_NAMED_PARTS = 4  # in a message
ABSENT = 0  # digest of an empty cell


class DataRecord(NamedTuple):
    """What a run was trained on.

    Attributes:
        fingerprint: of the data set.
        rows: [N] uint32, a digest of each row, by part: input.image, target.label, split, group, id.
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
    rows = {"split": _digest_cells(table.split.tolist(), files)}
    for name, target in table.targets.items():
        rows[f"target.{name}"] = _digest_target(target)
    for name, column in table.columns.items():
        rows[f"input.{name}"] = _digest_cells(column.values, files)
    if table.groups is not None:
        rows["group"] = _digest_cells(table.groups.tolist(), files)
    if not isinstance(table.ids, Locations):
        rows["id"] = _digest_cells(table.ids, files)
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


def _digest_cells(values: Sequence[object], files: FileDigests) -> np.ndarray:
    """Return the digests [N] of raw values; that of a path is the digest of the file's content."""
    contents = files.digest(str(value) for value in values if isinstance(value, Path))
    rows: Iterable[object] = values
    if isinstance(values, Records):
        rows = zip(*values.columns.values(), strict=True)  # quicker than a dict for every row
    return np.fromiter((_digest_cell(value, contents) for value in rows), dtype=np.uint32, count=len(values))


def _digest_cell(value: object, contents: Iterator[str]) -> int:
    """Return the digest of one raw value; that of a path is the next of `contents`."""
    if value is None:
        return ABSENT
    if isinstance(value, Path):
        return crc32(next(contents).encode())
    if isinstance(value, str):
        return crc32(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return crc32(value)
    if isinstance(value, np.ndarray):
        return crc32(np.ascontiguousarray(value).data, crc32(f"{value.dtype} {value.shape}".encode()))
    return crc32(repr(value).encode("utf-8", "surrogatepass"))


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
    other = sorted(_word(part) for part in before.rows.keys() ^ after.rows.keys())
    if other:
        return f"only one of the two has {', '.join(other)}"
    if len(changed) > 1:
        changed.pop("split", None)  # it follows from the targets, where no column says it
    if not changed:
        return "the rows are the same, but not the columns that are left out, or how the file is read"
    return _list_changes(table, dict(sorted(changed.items(), key=lambda item: _order(item[0]))))


def _list_changes(table: Table, changed: Mapping[str, np.ndarray]) -> str:
    counts, places = [], []
    for part, rows in list(changed.items())[:MAX_NAMED_PARTS]:
        counts.append(f"{_word(part)} of {len(rows)} {'row' if len(rows) == 1 else 'rows'}")
        places.append(_locate(table, part, int(rows[0])))
    more = f" and {len(changed) - len(counts)} more columns" if len(changed) > len(counts) else ""
    return f"{', '.join(counts)}{more} changed, first {', '.join(dict.fromkeys(places))}"


def _word(part: str) -> str:
    return part.partition(".")[2] or part


def _order(part: str) -> tuple[bool, str]:
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
