"""Parses the cells of target columns, and encodes the labels of all rows as a target."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from mmrun.data.names import normalize_name, sort_names
from mmrun.data.packed import PackedValues
from mmrun.data.sheets.numbers import as_number, is_infinite, is_missing_mark, parse_numbers
from mmrun.data.table import Target
from mmrun.data_types import IGNORE_INDEX
from mmrun.errors import DataError

MAX_TARGET = float(np.finfo(np.float32).max)  # as targets are stored

Label = str | list[str] | float | np.ndarray  # of one row: a class, a set of labels, a number or several


def get_label_parser(task: str, are_numbers: bool) -> Callable[[object], Label | None]:
    """Return the parser of a target's cells.

    Args:
        task: of the target.
        are_numbers: whether the cells are numbers, among which a mark such as NA is a missing one.

    Returns:
        cell -> class name, list of labels or array of numbers; None where a number is missing.
    """
    parse_class = _parse_numbered_class if are_numbers else _parse_class
    parsers: dict[str, Callable[[object], Label | None]] = {
        "classification": parse_class,
        "ordinal": parse_class,
        "multilabel": _parse_labels,
        "regression": parse_number,
    }
    return parsers[task]


def encode_target(
    task: str, labels: Sequence[Label | None], column: str, file: str, order: Sequence[str] | None = None
) -> Target:
    """Encode the labels of all rows as a target.

    Args:
        task: of the target.
        labels: N values that `get_label_parser(task)` returned; None: the row's target is hidden.
        column: name of the target column.
        file: name of the user's file.
        order: classes of an ordinal target, lowest first; None: in the order of their numbers.

    Raises:
        DataError: there are fewer than two classes, no order, or lists of different lengths.
    """
    if task == "regression":
        return _encode_numbers(labels, column, file)
    if task == "multilabel":
        return _encode_label_sets(labels, column, file)
    labels = labels if isinstance(labels, PackedValues) else PackedValues(labels)
    encoded = labels.encode()
    different = labels if encoded is None else encoded.values
    names = sort_names({str(label) for label in different if label is not None})
    if len(names) < 2:
        actual = f"all rows are {names[0]}" if names else "no row has a class"
        raise DataError(f"{file}: column '{column}': {actual}; a target needs at least two classes")
    if task == "ordinal":
        names = _order_classes(names, order, column, file)
    numbers = {name: number for number, name in enumerate(names)}
    classes = labels.map(lambda label: IGNORE_INDEX if label is None else numbers[str(label)])
    return Target(task, classes.astype(np.int64), names)


def _encode_label_sets(label_sets: Sequence[Label | None], column: str, file: str) -> Target:
    """Encode each row's set of labels as zeros and ones; a hidden row is NaN."""
    distinct: set[str] = set()
    for labels in label_sets:
        distinct.update(() if labels is None else cast(list[str], labels))
    if not distinct:
        raise DataError(f"{file}: column '{column}': no row has a label; fill in some, or name another target")
    names = sort_names(distinct)
    numbers = {name: number for number, name in enumerate(names)}
    matrix = np.zeros((len(label_sets), len(names)), dtype=np.float32)
    for row, labels in enumerate(label_sets):
        if labels is None:
            matrix[row] = np.nan
        else:
            matrix[row, [numbers[label] for label in cast(list[str], labels)]] = 1
    return Target("multilabel", matrix, names)


def _encode_numbers(labels: Sequence[Label | None], column: str, file: str) -> Target:
    if isinstance(labels, PackedValues) and labels.arrays() is not None:
        column_of_numbers = parse_numbers(labels)
        if column_of_numbers is not None:
            return Target("regression", column_of_numbers.astype(np.float32), [column])
    widths = {np.size(numbers) for numbers in labels if numbers is not None}
    if not widths:
        raise DataError(f"{file}: column '{column}': no row has a number; fill it in, or name another target")
    if len(widths) > 1:
        raise DataError(
            f"{file}: column '{column}': has lists of {sorted(widths)} numbers; give every row the same number"
        )
    width = widths.pop()
    hidden = np.full(width, np.nan)
    rows = [hidden if numbers is None else np.reshape(numbers, width) for numbers in labels]
    matrix = np.array(rows, dtype=np.float32)
    if width == 1:
        return Target("regression", matrix[:, 0], [column])
    return Target("regression", matrix, [f"{column}_{i}" for i in range(width)])


def _order_classes(names: list[str], order: Sequence[str] | None, column: str, file: str) -> list[str]:
    """Return the classes of an ordinal target in the given order, or sorted as numbers."""
    if order is None:
        numbers = {name: as_number(name) for name in names}
        words = [name for name, number in numbers.items() if number is None]
        if words:
            raise DataError(
                f"{file}: column '{column}': '{words[0]}' is not a number; give the order with "
                f"dataset.order=[{','.join(names)}], lowest first"
            )
        return sorted(names, key=lambda name: numbers[name] or 0.0)
    classes = [_parse_class(name) for name in order]
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise DataError(
            f"{file}: column '{column}': '{unknown[0]}' is not in dataset.order ({', '.join(classes)}); add it"
        )
    return classes


def _parse_class(cell: object) -> str:
    if isinstance(cell, bytes):
        raise DataError(f"{len(cell):,} bytes of binary data are not a class; name another column")
    if isinstance(cell, list | dict):
        raise DataError(f"{cell!r} is not a class; set dataset.task=multilabel, or give a single value")
    return normalize_name(cell)


def _parse_numbered_class(cell: object) -> str | None:
    """Parse a class among classes that are numbers; a mark such as NA is a missing one."""
    return None if is_missing_mark(cell) else _parse_class(cell)


def _parse_labels(cell: object) -> list[str]:
    """Parse ["a", "b"] or "a|b"; "|" alone means no label."""
    labels = cell if isinstance(cell, list) else str(cell).split("|")
    names = [normalize_name(label) for label in labels if label is not None]
    return [name for name in names if name]


def parse_number(cell: object) -> Label | None:
    """Parse a number, or a list of numbers; None where one is missing."""
    items = cell if isinstance(cell, list) else [cell]
    numbers = [as_number(item) for item in items]
    if None in numbers:
        raise DataError(f"{cell!r} is not a number; correct it, or set dataset.task=classification")
    array = np.array(numbers, dtype=np.float64)
    if any(map(is_infinite, items)) or (np.abs(array) > MAX_TARGET).any():
        raise DataError(f"{cell!r} is infinite or beyond the range of float32; correct it, or empty the cell")
    if np.isnan(array).any():
        return None
    return array if isinstance(cell, list) else float(array[0])
