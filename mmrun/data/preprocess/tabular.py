"""Cells: numbers and categories of one row."""

import math
from array import array
from collections.abc import Iterable
from itertools import compress
from typing import Any

import numpy as np

from mmrun.data.packed import Records
from mmrun.data.table import Column
from mmrun.errors import DataError

Cell = float | int | bool | str | None
MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", "."}  # how tables of numbers mark a gap


class Cells:
    """Decode a dict of cells to standardised numbers [F] with a mask of the missing, and category numbers [K].

    A column is numeric where every cell of the training rows is a number or a mark such as NA, unless `categorical`
    names it. Missing numbers become the mean (0); missing categories, and those that no training row has, are number 0.
    """

    def __init__(self, categorical: list[str] | None = None) -> None:
        self.categorical = categorical
        self.numeric: dict[str, tuple[float, float]] = {}  # by column: mean and deviation
        self.categories: dict[str, dict[str, int]] = {}  # by column: the number of each category
        self.metadata: dict[str, Any] = {}

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Infer which columns are numeric; fit means, deviations and categories."""
        records = Records.of(column.values)
        wanted = np.isin(np.arange(len(records)), rows)
        some = any(record is not None for record in compress(records, wanted))
        self.numeric, self.categories = {}, {}
        for name, cells in records.columns.items() if some else ():
            numbers = None if name in (self.categorical or []) else _numbers(compress(cells, wanted))
            if numbers is None:
                words = sorted({str(cell) for cell in compress(cells, wanted) if cell is not None})
                self.categories[name] = {word: number for number, word in enumerate(words, start=1)}
            else:
                known = numbers[~np.isnan(numbers)] if not np.isnan(numbers).all() else np.zeros(1)
                self.numeric[name] = (float(np.mean(known)), float(np.std(known)) or 1.0)
        self._state_metadata()

    def decode(self, value: dict[str, Cell]) -> dict[str, np.ndarray]:
        """Return one row of cells."""
        numbers = np.zeros(len(self.numeric), dtype=np.float32)
        missing = np.zeros(len(self.numeric), dtype=bool)
        for i, (name, (mean, deviation)) in enumerate(self.numeric.items()):
            number = as_number(value[name])
            if number is None:
                raise DataError(f"'{name}' is {value[name]!r}, but a number in all training rows")
            missing[i] = math.isnan(number)
            numbers[i] = 0.0 if missing[i] else (number - mean) / deviation
        known = [self.categories[name].get(str(value[name]), 0) for name in self.categories]
        return {"numeric": numbers, "missing": missing, "categorical": np.array(known, dtype=np.int64)}

    def state(self) -> dict[str, Any]:
        """Return the statistics of the training rows."""
        return {"numeric": {n: list(v) for n, v in self.numeric.items()}, "categories": self.categories}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` was taken from."""
        self.numeric = {name: (mean, deviation) for name, (mean, deviation) in state["numeric"].items()}
        self.categories = state["categories"]
        self._state_metadata()

    def _state_metadata(self) -> None:
        cardinalities = [len(words) + 1 for words in self.categories.values()]
        self.metadata = {"num_numeric": len(self.numeric), "cardinalities": cardinalities}


def as_number(cell: Cell) -> float | None:
    """Return the number of a cell, NaN for one that is missing, None for a word."""
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else math.nan
    if cell is None or str(cell).strip().lower() in MISSING:
        return math.nan
    try:
        number = float(cell)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else math.nan


def _numbers(cells: Iterable[Cell]) -> np.ndarray | None:  # [n] float64
    """Return the numbers of cells, NaN for the missing; None where one is a word."""
    numbers = array("d")
    for cell in cells:
        number = as_number(cell)
        if number is None:
            return None
        numbers.append(number)
    return np.array(numbers)
