"""Finds columns of tables that cannot help: constant ones, row numbers and identifiers."""

from collections.abc import Sequence

import numpy as np

from mmrun.data.packed import PackedValues, Records
from mmrun.data.sheets.numbers import as_number, parse_numbers

MIN_IDENTIFIERS = 20  # training rows, from which long numbers that all differ are suspicious
MIN_DIGITS = 7
NUM_FRACTIONS = 3  # first training rows; where they show what a column is, no other is looked at


def find_useless_columns(modality: str, records: Records, is_training: np.ndarray) -> list[str]:
    """Return one line for each column that cannot help: constant, numbers of rows, or long numbers that all differ.

    Args:
        modality: name of the table.
        records: its cells.
        is_training: which rows are training rows [N] bool.
    """
    lines = []
    rows = np.flatnonzero(is_training)
    first_rows = rows[:NUM_FRACTIONS].tolist()
    for name, cells in records.columns.items():
        if _are_fractions([cells[row] for row in first_rows]):
            continue
        training = cells.take(rows).drop_empty()
        if _is_constant(training):
            lines.append(f"{modality}: column '{name}' is the same in all training rows")
        elif _are_row_numbers(cells):
            lines.append(
                f"{modality}: column '{name}' is one higher in each row; if it numbers the rows, leave it out with "
                "dataset.columns"
            )
        elif _are_long_numbers(training):
            lines.append(
                f"{modality}: column '{name}' has a different long number in each row; if they are identifiers, leave "
                "it out with dataset.columns"
            )
    return lines


def _are_fractions(cells: Sequence[object]) -> bool:
    """Return whether cells are different numbers that are not whole: then their column is none of the useless ones."""
    numbers = [as_number(cell) for cell in cells]
    return len(set(numbers)) > 1 and all(number is not None and number % 1 > 0 for number in numbers)


def _is_constant(cells: Sequence[object]) -> bool:
    """Return whether all cells are the same, or there is none."""
    texts = map(str, cells)
    first = next(texts, None)
    return all(text == first for text in texts)


def _are_row_numbers(cells: PackedValues[object]) -> bool:
    """Return whether cells are whole numbers, each one higher than the one before it."""
    if len(cells) < MIN_IDENTIFIERS:
        return False
    first = parse_numbers(cells.head(MIN_IDENTIFIERS))
    if first is None or first[0] % 1 or not _ascend_by_one(first):  # most columns differ early
        return False
    numbers = parse_numbers(cells)
    return numbers is not None and _ascend_by_one(numbers)


def _ascend_by_one(numbers: np.ndarray) -> bool:
    return bool((numbers[1:] == numbers[:-1] + 1).all())  # no difference, which may overflow


def _are_long_numbers(cells: PackedValues[object]) -> bool:
    """Return whether cells are whole numbers of many digits that all differ, as account numbers are."""
    if len(cells) < MIN_IDENTIFIERS:
        return False
    if min(len(str(cell)) for cell in cells.head(MIN_IDENTIFIERS)) < MIN_DIGITS:
        return False
    numbers = parse_numbers(cells)
    if numbers is None or not np.equal(np.mod(numbers, 1), 0).all():
        return False
    return len(np.unique(numbers)) == len(numbers)
