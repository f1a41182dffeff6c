"""Finds columns that give the target away: each is tried alone, fitted to training rows and judged on the others."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mmrun.data.checks.contents import number_cells
from mmrun.data.names import join_names
from mmrun.data.packed import PackedValues, Records
from mmrun.data.sheets.numbers import parse_numbers
from mmrun.data.table import CLASSES, Column, Table, Target

MIN_ACCURACY = 0.99  # of one column alone, on val and test rows
MAX_ERRORS = 0.1  # as a share of the errors of one who always predicts the most frequent class
MIN_OTHERS = 3  # rows of other classes than the most frequent one
MIN_R2 = 0.999
MIN_ROWS = 10  # that are judged
MAX_NAMED = 3  # labels in a message


class Cells(NamedTuple):
    """A column, as numbers that can be matched between rows.

    Attributes:
        values: [N] float64 numbers, or [N] int64 category numbers.
        is_numeric: whether rows match the row with the nearest number, not those of the same category alone.
    """

    values: np.ndarray
    is_numeric: bool


class Matches(NamedTuple):
    """Training rows that have the same value, and the value that each test row is predicted by.

    Attributes:
        train_keys: [n] value number of each training row.
        test_keys: [m] the same of each test row.
        num_keys: K.
    """

    train_keys: np.ndarray
    test_keys: np.ndarray
    num_keys: int


def find_giveaways(table: Table) -> list[str]:
    """Return a line for each column of cells or texts that predicts a target almost perfectly.

    Args:
        table: the data set.
    """
    lines = []
    for modality, column in table.columns.items():
        for name, raw_cells in _iterate_cells(column):
            cells = encode_cells(raw_cells)
            subject = f"{modality}: column '{name}'" if name else modality
            for target_name, target in table.targets.items():
                scores = score_alone(cells, target, table.split == "train")
                if scores:
                    outputs, score = _name_outputs(target_name, target, list(scores)), next(iter(scores.values()))
                    lines.append(
                        f"{subject} alone predicts {outputs} in the val and test rows ({score}); "
                        "leave it out if it is made from the target"
                    )
    return lines


def encode_cells(raw_cells: Sequence[object]) -> Cells:
    """Return a column as numbers if all its cells are numbers or missing, else as categories.

    Args:
        raw_cells: N values, None where missing.
    """
    values = parse_numbers(raw_cells)
    if values is None:
        packed = raw_cells if isinstance(raw_cells, PackedValues) else PackedValues(raw_cells)
        return Cells(number_cells(packed), is_numeric=False)
    is_missing = np.isnan(values)
    if not is_missing.all():
        far = np.nanmin(values) - np.ptp(values[~is_missing]) - 1  # from all numbers
        values = np.where(is_missing, far, values)
    return Cells(np.nan_to_num(values), is_numeric=True)


def score_alone(cells: Cells, target: Target, is_training: np.ndarray) -> dict[str, str]:
    """Return how well a column alone predicts a target on the rows that are not for training.

    Args:
        cells: of the column.
        target: of the rows; of several labels or numbers, each is tried.
        is_training: [N] bool.

    Returns:
        The score of each label or number, by its name ("" of a class), that is predicted almost perfectly.
    """
    columns = target.values.reshape(len(target.values), -1)
    is_class = target.task in CLASSES
    visible = columns >= 0 if is_class else ~np.isnan(columns)
    scores = {}
    matches: Matches | None = None
    for index in range(columns.shape[1]):
        if index == 0 or not np.array_equal(visible[:, index], visible[:, index - 1]):
            train = np.flatnonzero(visible[:, index] & is_training)
            test = np.flatnonzero(visible[:, index] & ~is_training)
            matches = _match_rows(cells, train, test)
        if matches is None:
            continue
        values = columns[:, index]
        if target.task == "regression":
            score = _judge_numbers(matches, values[train].astype(np.float64), values[test].astype(np.float64))
        else:
            num_classes = len(target.names) if is_class else 2
            score = _judge_classes(matches, values[train].astype(np.int64), values[test].astype(np.int64), num_classes)
        if score is not None:
            scores["" if is_class else target.names[index]] = score
    return scores


def _match_rows(cells: Cells, train: np.ndarray, test: np.ndarray) -> Matches | None:
    """Match test rows [m] with training rows [n] of the same category or the nearest number; None: too few match."""
    if len(test) < MIN_ROWS or len(train) < MIN_ROWS:
        return None
    distinct, train_keys = np.unique(cells.values[train], return_inverse=True)
    values = cells.values[test]
    right = np.searchsorted(distinct, values).clip(max=len(distinct) - 1)
    if not cells.is_numeric:
        if len(distinct) > len(train) / 2:
            return None
        is_known = distinct[right] == values
        return Matches(train_keys, np.where(is_known, right, len(distinct)), len(distinct) + 1)
    left = (right - 1).clip(min=0)
    is_left_nearer = np.abs(values - distinct[left]) <= np.abs(values - distinct[right])
    return Matches(train_keys, np.where(is_left_nearer, left, right), len(distinct))


def _judge_classes(matches: Matches, train: np.ndarray, test: np.ndarray, num_classes: int) -> str | None:
    """Return the accuracy of the most frequent class of each key, if almost all test rows are right."""
    counts = np.zeros((matches.num_keys, num_classes), dtype=np.int64)
    np.add.at(counts, (matches.train_keys, train), 1)
    counts[counts.sum(axis=1) == 0] = counts.sum(axis=0)
    errors = int((counts.argmax(axis=1)[matches.test_keys] != test).sum())
    others = len(test) - int(np.bincount(test).max())
    accuracy = 1 - errors / len(test)
    if others < MIN_OTHERS or errors > MAX_ERRORS * others or accuracy < MIN_ACCURACY:
        return None
    return f"accuracy {accuracy:.3f}"


def _judge_numbers(matches: Matches, train: np.ndarray, test: np.ndarray) -> str | None:
    """Return the R2 of the mean of each key, if it is almost 1."""
    count = np.bincount(matches.train_keys, minlength=matches.num_keys)
    total = np.bincount(matches.train_keys, weights=train, minlength=matches.num_keys)
    means = np.where(count > 0, total / np.maximum(count, 1), train.mean())
    residual, variance = np.square(means[matches.test_keys] - test).mean(), test.var()
    return f"R2 {1 - residual / variance:.4f}" if residual <= (1 - MIN_R2) * variance and variance > 0 else None


def _name_outputs(target_name: str, target: Target, outputs: list[str]) -> str:
    """Return "tags", or "'cat', 'dog' and 3 more of tags" where the target has several labels or numbers."""
    if target.values.ndim == 1:
        return target_name
    return f"{join_names(list(map(repr, outputs)), MAX_NAMED)} of {target_name}"


def _iterate_cells(column: Column) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield the name and the cells of each column of a modality; a text has no name."""
    if column.kind == "tabular":
        yield from Records.from_rows(column.values).columns.items()
    elif column.kind == "text" and not column.from_files:
        yield "", column.values
