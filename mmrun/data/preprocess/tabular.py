"""Tabular cells: the numbers and categories of one row."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmrun.data.moments import Moments
from mmrun.data.names import find_near_equal, normalize_name
from mmrun.data.packed import PackedValues, Records
from mmrun.data.packed import is_present as is_cell_present
from mmrun.data.sheets.numbers import as_number, parse_numbers
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError, nearest

MAX_SPREADS = 10  # distances from the 5 % to the 95 % quantile that a number may be beyond them, to go unmentioned
MAX_DEVIATIONS = 1e30  # from the mean; what is farther away would overflow float32


class Cells:
    """Decodes a dict of cells to "numeric" [F] with a "missing" mask [F], and "categorical" [K].

    A column is numeric if every cell of the training rows is a number or a mark such as NA. Numbers are standardised.
    A missing one becomes the mean (0), and so does every number of a column that is constant in the training rows.
    Categories are numbered from 1, "" among them where a training row lacks the cell; one that no training row has
    is 0.

    Args:
        categorical: columns that are categories although all their cells are numbers, such as codes.

    Attributes:
        numeric: mean and standard deviation by numeric column; the deviation of a constant is 0.
        categories: number of each category by categorical column.
        metadata: num_numeric (F) and cardinalities (K numbers, including category 0), for encoders.
        notes: what is suspicious in the column, one line each; written by `fit`.
    """

    def __init__(self, categorical: list[str] | None = None) -> None:
        self.categorical = categorical
        self.numeric: dict[str, tuple[float, float]] = {}
        self.categories: dict[str, dict[str, int]] = {}
        self.metadata: dict[str, object] = {}
        self.notes: list[str] = []

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Infer which columns are numeric; compute means, standard deviations and categories.

        Args:
            column: the cells.
            rows: numbers of the training rows [N].

        Raises:
            ConfigError: `categorical` names a column that does not exist.
        """
        records = Records.from_rows(column.values)
        self._check_categorical(records)
        is_training = np.isin(np.arange(len(records)), rows)
        is_present = column.is_present()
        has_cells = bool((is_training & is_present).any())
        self.numeric, self.categories, self.notes = {}, {}, []
        for name, cells in records.columns.items() if has_cells else ():
            is_categorical = name in (self.categorical or []) or name in column.categorical
            numbers = None if is_categorical else _parse_training_numbers(cells, is_training)
            if numbers is None:
                self._fit_categories(name, cells, is_training, is_present)
            else:
                self._fit_numbers(name, numbers, cells, is_training)
        self._update_metadata()

    def _check_categorical(self, records: Records) -> None:
        for name in self.categorical or ():
            if records.columns and name not in records.columns:
                raise ConfigError(
                    f"preprocess.categorical: there is no column '{name}'{nearest(name, records.columns)} "
                    f"(there are {', '.join(records.columns)})"
                )

    def _fit_numbers(
        self, name: str, numbers: np.ndarray, cells: PackedValues[object], is_training: np.ndarray
    ) -> None:
        moments = Moments(1)
        moments.update(numbers[None, is_training])
        self.numeric[name] = (float(moments.mean[0]), float(moments.deviation[0]))
        self.notes += describe_extremes(f"column '{name}'", numbers[is_training], numbers[~is_training])
        without_number = np.flatnonzero(np.isnan(numbers) & is_cell_present(cells))
        num_infinite = sum(map(_is_infinite, cells.take(without_number)))
        if num_infinite:
            self.notes.append(f"column '{name}': {num_infinite} cells are infinite, and read as missing")

    def _fit_categories(
        self, name: str, cells: PackedValues[object], is_training: np.ndarray, is_present: np.ndarray
    ) -> None:
        words = cells.map(_category)
        in_training = set(words[is_training & is_present])
        self.categories[name] = {word: number for number, word in enumerate(sorted(in_training), start=1)}
        self.notes += self._describe_unknown(name, words[~is_training & is_present], "other rows")
        pairs = find_near_equal(in_training - {""})
        if pairs:
            first_word, second_word = pairs[0]
            self.notes.append(
                f"column '{name}': the categories {first_word!r} and {second_word!r} are nearly equal; "
                "if they are one, spell them alike"
            )

    def describe_new(self, column: Column) -> list[str]:
        """Return a line about each categorical column in which new rows have categories that no training row has.

        Args:
            column: the cells of rows that were not there when this object was fitted.
        """
        records = Records.from_rows(column.values)
        is_present = column.is_present()
        lines = []
        for name in self.categories:
            words = records.columns[name].map(_category)
            lines += self._describe_unknown(name, words[is_present], "rows")
        return lines

    def _describe_unknown(self, name: str, words: np.ndarray, rows: str) -> list[str]:
        """Return a line about words that no training row has, or none if there is none."""
        unknown = [word for word in words if word not in self.categories[name]]
        if not unknown:
            return []
        named = next((word for word in unknown if word), "")
        first = f", the first is {named[:40]!r}" if named else ""
        num_empty = unknown.count("")
        empty = f" ({num_empty} of them are empty)" if num_empty else ""
        share = f"{len(unknown)} of {len(words)} {rows}"
        return [
            f"column '{name}': {share} have a category that no training row has{first}; they are read as unknown{empty}"
        ]

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
        categories = [numbered.get(_category(value[name]), 0) for name, numbered in self.categories.items()]
        return {"numeric": numbers, "missing": missing, "categorical": np.array(categories, dtype=np.int64)}

    def decode_rows(self, values: Sequence[Mapping[str, object] | None]) -> dict[str, np.ndarray] | None:
        """Decode many rows at once, column by column.

        Args:
            values: n rows, None where the modality is missing.

        Returns:
            The arrays of `decode` with a first axis of n, zeros where the modality is missing; None where a row cannot
            be decoded, or where the rows are not stored by column.
        """
        if not isinstance(values, Records):
            return None
        is_empty = ~is_cell_present(values)
        numbers = np.zeros((len(values), len(self.numeric)), dtype=np.float32)
        missing = np.zeros((len(values), len(self.numeric)), dtype=bool)
        for i, (name, (mean, deviation)) in enumerate(self.numeric.items()):
            column = parse_numbers(values.columns[name])
            if column is None:
                return None
            standardised = (column - mean) / deviation if deviation > 0 else np.where(np.isnan(column), np.nan, 0.0)
            if (np.abs(standardised) > MAX_DEVIATIONS).any():
                return None
            missing[:, i] = np.isnan(column) & ~is_empty
            numbers[:, i] = np.nan_to_num(standardised, nan=0.0)
        categories = np.zeros((len(values), len(self.categories)), dtype=np.int64)
        for i, (name, numbered) in enumerate(self.categories.items()):
            numbers_of_words = (numbered.get(word, 0) for word in values.columns[name].map(_category))
            categories[:, i] = np.fromiter(numbers_of_words, dtype=np.int64, count=len(values))
        categories[is_empty] = 0
        return {"numeric": numbers, "missing": missing, "categorical": categories}

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
        """Restore a state.

        Args:
            state: of another object.
        """
        self.numeric = {name: (mean, deviation) for name, (mean, deviation) in state["numeric"].items()}
        self.categories = state["categories"]
        self._update_metadata()

    def _update_metadata(self) -> None:
        cardinalities = [len(words) + 1 for words in self.categories.values()]
        self.metadata = {"num_numeric": len(self.numeric), "cardinalities": cardinalities}


def describe_extremes(subject: str, numbers: np.ndarray, other_numbers: np.ndarray) -> list[str]:
    """Return a line about numbers that are far from most others, such as 9999999 among ages; none if there is none.

    Args:
        subject: what the numbers are, the start of the line.
        numbers: of the training rows [N]; NaN where missing.
        other_numbers: of the other rows [n].
    """
    finite, others = numbers[np.isfinite(numbers)], other_numbers[np.isfinite(other_numbers)]
    if len(finite) == 0:
        return []
    low, high = np.quantile(finite, (0.05, 0.95), method="nearest")
    if high == low:  # mostly one value: its neighbours are no outliers
        low, high = np.quantile(finite, (0.005, 0.995), method="nearest")
    spread = high - low
    margin = MAX_SPREADS * spread if spread > 0 else MAX_SPREADS * max(abs(high), 1.0)
    lines = []
    for rows, values in (("training", finite), ("other", others)):
        far = values[(values < low - margin) | (values > high + margin)]
        if len(far):
            farthest = far[np.abs(far - high).argmax()]
            lines.append(
                f"{subject}: {len(far)} of {len(values)} numbers of {rows} rows, such as {farthest:.10g}, are far from "
                f"most ({low:.4g} to {high:.4g}); if they mark missing values, empty those cells"
            )
    return lines


def _category(cell: object) -> str:
    """Return a cell as a category, "" where it is missing."""
    return "" if cell is None else normalize_name(cell)


def _is_infinite(cell: object) -> bool:
    if isinstance(cell, float):
        return math.isinf(cell)
    return isinstance(cell, str) and cell.strip().lower().lstrip("+-") in ("inf", "infinity")


def _parse_training_numbers(cells: PackedValues[object], is_training: np.ndarray) -> np.ndarray | None:
    """Return the numbers [N] of a column, NaN for missing ones and words of other rows; None if it is not numeric."""
    numbers = parse_numbers(cells)
    if numbers is not None:
        return numbers
    if parse_numbers(cells.take(np.flatnonzero(is_training))) is None:
        return None
    others = [math.nan if (number := as_number(cell)) is None else number for cell in cells]
    return np.array(others, dtype=np.float64)
