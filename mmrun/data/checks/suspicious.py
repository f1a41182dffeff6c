"""Finds targets and groups that look like mistakes: nearly equal names, marks of missing values, numbers far off."""

from collections.abc import Sequence

import numpy as np

from mmrun.data.checks.useless import find_useless_columns
from mmrun.data.names import find_near_equal
from mmrun.data.packed import Records
from mmrun.data.preprocess.extremes import describe_extremes
from mmrun.data.sheets.numbers import is_missing_mark
from mmrun.data.table import Table, Target


def find_suspicious(table: Table, group_column: str | None) -> list[str]:
    """Return one line for each thing in the targets and groups that may be a mistake.

    Args:
        table: the data set.
        group_column: name of the column of its groups; None: it has none.
    """
    lines = []
    for name, target in table.targets.items():
        if target.task == "regression":
            lines += _find_extremes(target, table.split == "train")
        else:
            lines += _find_names(name, target.names)
    if table.groups is not None:
        lines += _find_pairs(f"{group_column}: the groups", np.unique(table.groups).tolist())
    for name, column in table.columns.items():
        if isinstance(column.values, Records):
            lines += find_useless_columns(name, column.values, table.split == "train")
    return lines


def _find_extremes(target: Target, is_training: np.ndarray) -> list[str]:
    numbers = target.values.reshape(len(target.values), -1)
    lines = []
    for name, column in zip(target.names, numbers.T, strict=True):
        lines += describe_extremes(name, column[is_training], column[~is_training])
    return lines


def _find_names(name: str, classes: Sequence[str]) -> list[str]:
    lines = _find_pairs(f"{name}: the classes", classes)
    for label in classes:
        if is_missing_mark(label):
            lines.append(f"{name}: '{label}' is a class; if it marks a missing value, empty those cells")
    return lines


def _find_pairs(subject: str, names: Sequence[str]) -> list[str]:
    pairs = find_near_equal(names)
    if not pairs:
        return []
    first, second = pairs[0]
    more = f" (and {len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
    return [f"{subject} {first!r} and {second!r} are nearly equal{more}; if they are one, spell them alike"]
