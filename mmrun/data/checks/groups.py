"""Finds groups that leak: rows of one patient, speaker or recording in several splits, though no group is set."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmrun.data.checks.contents import number_cells
from mmrun.data.checks.finding import Finding
from mmrun.data.checks.survey import GROUP_NAMES, has_word
from mmrun.data.names import normalize_name
from mmrun.data.packed import PackedValues
from mmrun.data.table import CLASSES, Table

MIN_GROUPS = 5
MIN_GROUP_ROWS = 2.0  # on average
SEPARATORS = re.compile(r"[_\-. ]+")


def find_leaking_groups(table: Table, cells: Mapping[str, Sequence[object]]) -> list[Finding]:
    """Report columns, and beginnings of file names, that look like groups whose rows are in several splits.

    Args:
        table: the data set; if its groups are set, there is nothing to report.
        cells: of all columns of the user's file that may be groups, by name [N].
    """
    if table.groups is not None:
        return []
    findings = []
    for name, column in cells.items():
        if has_word(name, GROUP_NAMES) and name not in table.targets:
            names = ["" if cell is None else normalize_name(cell) for cell in column]
            torn = _count_torn(table, names)
            if torn:
                message = f"column '{name}': {torn[0]} of {torn[1]} have rows in several splits"
                findings.append(Finding("groups", message, f"if they belong together, set group={name}"))
    for modality, values in table.columns.items():
        if values.from_files:
            findings += _check_file_names(table, modality, values.values)
    return findings


def _check_file_names(table: Table, modality: str, values: Sequence[object]) -> list[Finding]:
    names = [_name_group(value) if isinstance(value, Path) else "" for value in values]
    torn = _count_torn(table, names)
    if torn is None:
        return []
    first = next(name for name in names if name)
    message = f"{modality}: file names begin like '{first}' in {torn[1]} ways, {torn[0]} of them in several splits"
    remedy = "if these are patients, speakers or the like, write them into a column and set group=COLUMN"
    return [Finding("groups", message, remedy)]


def _name_group(path: Path) -> str:
    """Return what precedes the last part of a file's name: p12_ of p12_3.png; "" if it has no parts."""
    parts = SEPARATORS.split(path.stem)
    return path.stem[: -len(parts[-1])] if len(parts) > 1 and parts[-1] else ""


def _count_torn(table: Table, names: Sequence[str]) -> tuple[int, int] | None:
    """Return how many groups are in several splits, and how many there are.

    Args:
        table: the data set.
        names: of the group of each row; "" if it has none.

    Returns:
        None if the names are hardly those of groups: few or almost all differ, or they are names of the classes.
    """
    group_of = number_cells(PackedValues([name or None for name in names]))
    is_named = group_of >= 0
    num_groups = len(np.unique(group_of[is_named]))
    if num_groups < MIN_GROUPS or is_named.sum() < MIN_GROUP_ROWS * num_groups:
        return None
    for target in table.targets.values():
        if target.task in CLASSES and num_groups <= len(target.names):
            return None
    pairs = np.unique(np.stack([group_of[is_named], np.unique(table.split, return_inverse=True)[1][is_named]]), axis=1)
    num_torn = int((np.bincount(pairs[0]) > 1).sum())
    return (num_torn, num_groups) if num_torn else None
