"""Repairs a data set by leaving out rows: which ones a check found, why, and what the remaining ones are written as."""

import os
import posixpath
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmrun.data.checks.finding import Finding
from mmrun.data.items import list_paths, split_items
from mmrun.data.packed import PackedValues
from mmrun.data.sheets.sheet import Sheet
from mmrun.data.table import SPLITS, Table
from mmrun.errors import DataError


class DroppedRow(NamedTuple):
    """A row that is left out.

    Attributes:
        place: where it stands in the file, "my.csv:17".
        kind: of the finding.
        reason: why.
    """

    place: str
    kind: str
    reason: str


def choose_dropped_rows(
    sheet: Sheet, table: Table, rows: np.ndarray, findings: Sequence[Finding], kinds: Collection[str]
) -> dict[int, DroppedRow]:
    """Choose the rows of a file to leave out.

    Args:
        sheet: the file.
        table: that was opened from it, without bad rows.
        rows: for each row of the table, the number of its row in the file [n].
        findings: about the table.
        kinds: of the findings whose rows are left out.

    Returns:
        By row number in the file, ascending; of several reasons, the first one.

    Raises:
        DataError: no row of a split would be left.
    """
    places = sheet.locate_rows()
    dropped: dict[int, DroppedRow] = {}

    def drop(row: int, finding: Finding, where: str) -> None:
        detail = where.removeprefix(places[row]).lstrip(": ")
        reason = f"{finding.message}: {detail}" if detail else finding.message
        dropped.setdefault(row, DroppedRow(places[row], finding.kind, reason))

    bad_rows = np.setdiff1d(np.arange(len(sheet.lines)), rows).tolist()
    for finding in findings:
        if finding.kind in kinds:
            numbers = rows[list(finding.rows)].tolist() if len(finding.rows) else bad_rows
            for row, where in zip(numbers, finding.where, strict=True):
                drop(row, finding, where)
    is_kept = ~np.isin(rows, list(dropped))
    for split in SPLITS:
        if (table.split == split).any() and not (is_kept & (table.split == split)).any():
            raise DataError(f"no row of {split} would be left; nothing is written")
    return dict(sorted(dropped.items()))


def rebase_files(sheet: Sheet, table: Table, rows: np.ndarray, folder: Path) -> dict[str, PackedValues[object]]:
    """Return the columns of a file, with file names that lead from another folder to the same files.

    Args:
        sheet: the file.
        table: that was opened from it.
        rows: for each row of the table, the number of its row in the file [n].
        folder: that the names shall be relative to; where files lie outside it, names stay as they are.
    """
    columns = dict(sheet.columns)
    assert table.root is not None
    prefix = find_prefix(table.root, folder)
    if not prefix:
        return columns
    for modality, column in table.columns.items():
        if column.from_files:
            [name] = table.fields[modality]
            cells = list(sheet.columns[name])
            for row, value in zip(rows.tolist(), column.values, strict=True):
                cells[row] = _rebase(cells[row], value, prefix)
            columns[name] = PackedValues(cells)
    return columns


def find_prefix(root: Path, folder: Path) -> str | None:
    """Return the path of a folder of files relative to another one; "" if it is the same.

    Args:
        root: that file names start from.
        folder: that they shall start from.

    Returns:
        None if the root is not inside the folder.
    """
    prefix = os.path.relpath(os.path.realpath(root), os.path.realpath(folder)).replace(os.sep, "/")
    if prefix == ".":
        return ""
    return None if prefix == ".." or prefix.startswith("../") else prefix


def _rebase(cell: object, value: object, prefix: str) -> object:
    """Return a cell with a path before its file names; other cells, and absolute names, stay."""
    if not list_paths(value) or not isinstance(cell, str | list):
        return cell
    if isinstance(cell, str) and isinstance(value, Path):  # whatever separator its name contains
        return posixpath.join(prefix, cell)
    names = [posixpath.join(prefix, name) if isinstance(name, str) else name for name in split_items(cell)]
    return names if isinstance(cell, list) else "|".join(map(str, names))


def count_by_split(table: Table, is_kept: np.ndarray) -> Mapping[str, int]:
    """Return the number of rows of each split that are kept.

    Args:
        table: the data set.
        is_kept: [n] bool.
    """
    return {split: int((is_kept & (table.split == split)).sum()) for split in SPLITS}
