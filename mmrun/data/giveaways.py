"""Finds columns that give the target away: each is tried alone, fitted to training rows and judged on the others."""

from collections.abc import Iterator, Sequence

import numpy as np

from mmrun.data.names import normalize_name
from mmrun.data.packed import Records
from mmrun.data.preprocess.tabular import as_number
from mmrun.data.split import has_target
from mmrun.data.table import CLASSES, Column, Table, Target

MIN_ACCURACY = 0.99  # of one column alone, on val and test rows
MIN_GAIN = 0.05  # over the most frequent class
MIN_R2 = 0.999
MIN_ROWS = 10  # that are judged


def find_giveaways(table: Table) -> list[str]:
    """Return a line for each column of cells or texts that predicts a target almost perfectly.

    Args:
        table: the data set.
    """
    lines = []
    for modality, column in table.columns.items():
        for name, cells in _iterate_cells(column):
            for target_name, target in table.targets.items():
                score = score_alone(cells, target, table.split == "train")
                if score is not None:
                    subject = f"{modality}: column '{name}'" if name else modality
                    lines.append(
                        f"{subject} alone tells {target_name} in the val and test rows ({score}); "
                        "leave it out if it is made from the target"
                    )
    return lines


def score_alone(cells: Sequence[object], target: Target, is_training: np.ndarray) -> str | None:
    """Return how well a column alone predicts a target on the rows that are not for training; None if not too well.

    Args:
        cells: N values, None where missing.
        target: of the rows; label sets and several numbers are not tried.
        is_training: [N] bool.
    """
    if target.values.ndim > 1:
        return None
    is_visible = has_target(target)
    train, test = np.flatnonzero(is_visible & is_training), np.flatnonzero(is_visible & ~is_training)
    if len(test) < MIN_ROWS or len(train) < MIN_ROWS:
        return None
    predicted = _predict(cells, target, train, test)
    if predicted is None:
        return None
    expected = target.values[test]
    if target.task in CLASSES:
        accuracy = float((predicted == expected).mean())
        baseline = np.bincount(expected).max() / len(expected)
        return f"accuracy {accuracy:.3f}" if accuracy >= max(MIN_ACCURACY, baseline + MIN_GAIN) else None
    residual, variance = np.square(predicted - expected).mean(), expected.var()
    return f"R2 {1 - residual / variance:.4f}" if residual <= (1 - MIN_R2) * variance and variance > 0 else None


def _predict(cells: Sequence[object], target: Target, train: np.ndarray, test: np.ndarray) -> np.ndarray | None:
    """Predict test rows by the training rows of the same category or the nearest number.

    Returns:
        A class or number for each test row; None if most training rows have a category of their own.
    """
    numbers = [as_number(cell) for cell in cells]
    if None in numbers:
        names = ["" if cell is None else normalize_name(cell) for cell in cells]
        categories, keys = np.unique(names, return_inverse=True)
        if len(np.unique(keys[train])) > len(train) / 2:
            return None
        by_category = _summarize_by_key(keys[train], target.values[train], len(categories), target)
        return np.asarray(by_category[keys[test]])
    values = np.array(numbers, dtype=np.float64)
    is_missing = np.isnan(values)
    if is_missing[train].all():
        return None
    values[is_missing] = np.nanmin(values) - np.ptp(values[~is_missing]) - 1  # far from all numbers
    distinct, keys = np.unique(values[train], return_inverse=True)
    by_number = _summarize_by_key(keys, target.values[train], len(distinct), target)
    right = np.searchsorted(distinct, values[test]).clip(max=len(distinct) - 1)
    left = (right - 1).clip(min=0)
    is_left_nearer = np.abs(values[test] - distinct[left]) <= np.abs(values[test] - distinct[right])
    return np.asarray(by_number[np.where(is_left_nearer, left, right)])


def _summarize_by_key(keys: np.ndarray, values: np.ndarray, num_keys: int, target: Target) -> np.ndarray:
    """Return the most frequent class or the mean of each key; that of all rows for keys without a row."""
    if target.task in CLASSES:
        counts = np.zeros((num_keys, len(target.names)), dtype=np.int64)
        np.add.at(counts, (keys, values), 1)
        counts[counts.sum(axis=1) == 0] = counts.sum(axis=0)
        classes: np.ndarray = counts.argmax(axis=1)
        return classes
    count = np.bincount(keys, minlength=num_keys)
    total = np.bincount(keys, weights=values, minlength=num_keys)
    means: np.ndarray = np.where(count > 0, total / np.maximum(count, 1), values.mean())
    return means


def _iterate_cells(column: Column) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield the name and the cells of each column of a modality; a text has no name."""
    if column.kind == "tabular":
        yield from Records.from_rows(column.values).columns.items()
    elif column.kind == "text" and not column.from_files:
        yield "", column.values
