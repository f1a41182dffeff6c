"""Tabular cells: the numbers and categories of one row."""

import math
from array import array
from collections.abc import Iterable, Mapping
from itertools import compress
from typing import Any

import numpy as np

from mmrun.data.moments import Moments
from mmrun.data.packed import Records
from mmrun.data.table import Column
from mmrun.errors import DataError

MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", "."}  # how missing numbers are marked, in lower case

MAX_DEVIATIONS = 1e30  # from the mean; what is farther away would overflow float32


class Cells:
    """Decodes a dict of cells to "numeric" [F] with a "missing" mask [F], and "categorical" [K].

    A column is numeric if every cell of the training rows is a number or a mark such as NA. Numbers are standardised.
    A missing one becomes the mean (0), and so does every number of a column that is constant in the training rows.
    Categories are numbered from 1; one that is missing, or that no training row has, is 0.

    Args:
        categorical: columns that are categories although all their cells are numbers, such as codes.

    Attributes:
        numeric: mean and standard deviation by numeric column; the deviation of a constant is 0.
        categories: number of each category by categorical column.
        metadata: num_numeric (F) and cardinalities (K numbers, including category 0), for encoders.
    """

    def __init__(self, categorical: list[str] | None = None) -> None:
        self.categorical = categorical
        self.numeric: dict[str, tuple[float, float]] = {}
        self.categories: dict[str, dict[str, int]] = {}
        self.metadata: dict[str, object] = {}

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Infer which columns are numeric; compute means, standard deviations and categories.

        Args:
            column: the cells.
            rows: numbers of the training rows [N].
        """
        records = Records.from_rows(column.values)
        is_training = np.isin(np.arange(len(records)), rows)
        has_cells = any(record is not None for record in compress(records, is_training))
        self.numeric, self.categories = {}, {}
        for name, cells in records.columns.items() if has_cells else ():
            numbers = None if name in (self.categorical or []) else _parse_numbers(compress(cells, is_training))
            if numbers is None:
                words = {str(cell) for cell in compress(cells, is_training) if cell is not None}
                self.categories[name] = {word: number for number, word in enumerate(sorted(words), start=1)}
            else:
                moments = Moments(1)
                moments.update(numbers[None])
                self.numeric[name] = (float(moments.mean[0]), float(moments.deviation[0]))
        self._update_metadata()

    def decode(self, value: Mapping[str, object]) -> dict[str, np.ndarray]:
        """Decode one row.

        Args:
            value: cells by column.

        Returns:
            "numeric" [F] float32, "missing" [F] bool and "categorical" [K] int64.

        Raises:
            DataError: a cell of a numeric column is neither a number nor marked as missing.
        """
        numbers = np.zeros(len(self.numeric), dtype=np.float32)
        missing = np.zeros(len(self.numeric), dtype=bool)
        for i, name in enumerate(self.numeric):
            number = as_number(value[name])
            if number is None:
                raise DataError(f"'{name}' is {value[name]!r}, but it is a number in all training rows")
            missing[i] = math.isnan(number)
            numbers[i] = 0.0 if missing[i] else self._standardise(name, number)
        categories = [numbered.get(str(value[name]), 0) for name, numbered in self.categories.items()]
        return {"numeric": numbers, "missing": missing, "categorical": np.array(categories, dtype=np.int64)}

    def _standardise(self, name: str, number: float) -> float:
        mean, deviation = self.numeric[name]
        standardised = (number - mean) / deviation if deviation > 0 else 0.0
        if abs(standardised) > MAX_DEVIATIONS:
            raise DataError(
                f"'{name}' is {number:g}, but {mean:.4g} on average in the training rows; correct it, or empty the cell"
            )
        return standardised

    def state(self) -> dict[str, object]:
        """Return the statistics of the training rows."""
        return {"numeric": {n: list(v) for n, v in self.numeric.items()}, "categories": self.categories}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state.

        Args:
            state: of another object.
        """
        self.numeric = {name: (mean, deviation) for name, (mean, deviation) in state["numeric"].items()}
        self.categories = state["categories"]
        self._update_metadata()

    def _update_metadata(self) -> None:
        cardinalities = [len(words) + 1 for words in self.categories.values()]
        self.metadata = {"num_numeric": len(self.numeric), "cardinalities": cardinalities}


def as_number(cell: object) -> float | None:
    """Return a cell as a number.

    Args:
        cell: a number, or text.

    Returns:
        The number; NaN if it is infinite or marked as missing; None if the cell is not a number.
    """
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else math.nan
    if cell is None or is_missing_mark(cell):
        return math.nan
    if isinstance(cell, str) and "_" in cell:  # Python reads 2024_01 as 202401
        return None
    try:
        number = float(cell)  # type: ignore[arg-type]  # a TypeError is caught
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else math.nan


def is_missing_mark(cell: object) -> bool:
    """Return whether a cell marks a missing number: NA, null, ? ...

    Args:
        cell: text, or anything else.
    """
    return isinstance(cell, str) and cell.strip().lower() in MISSING


def _parse_numbers(cells: Iterable[object]) -> np.ndarray | None:  # [n] float64
    """Return the numbers of cells, NaN for missing ones; None if a cell is not a number."""
    numbers = array("d")
    for cell in cells:
        number = as_number(cell)
        if number is None:
            return None
        numbers.append(number)
    return np.array(numbers)
