"""Tabular cells: the numbers and categories of one row."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from mmrun.data.packed import PackedValues, Records
from mmrun.data.packed import is_present as is_cell_present
from mmrun.data.preprocess.categories import (
    CategoryEncoding,
    CategoryTransform,
    as_category,
    describe_categories,
    fit_categories,
)
from mmrun.data.preprocess.extremes import describe_extremes
from mmrun.data.preprocess.numbers import (
    Impute,
    NumberOptions,
    NumberTransform,
    Scale,
    describe_transform,
    fit_transform,
    parse_training_numbers,
    restore_transform,
)
from mmrun.data.sheets.numbers import as_number, is_infinite, parse_numbers
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError, nearest
from mmrun.values import NonNegativeFloat, PositiveFloat, PositiveInt, Range

MAX_DEVIATIONS = 1e30  # from the mean; what is farther away would overflow float32
MAX_ONE_HOT = 1000  # categories of all columns that may become a number each

ClipQuantile = Annotated[float, Range(above=0, below=0.5)]


class Cells:
    """Decodes a dict of cells to "numeric" [F] with a "missing" mask [F], and "categorical" [K].

    A column is numeric if every cell of the training rows is a number or a mark such as NA. Its numbers are filled,
    logged, clipped and scaled, in this order, by what the training rows show. Every number of a column that is constant
    in the training rows becomes 0. Categories are numbered from 1, "" among them where a training row lacks the cell;
    one that no training row has is 0.

    Args:
        categorical: columns that are categories although all their cells are numbers, such as codes.
        impute: what a missing number becomes: learned, a vector of the encoder (here 0, marked in "missing"); or the
            mean, the median or the constant `fill_value`, without a mark.
        fill_value: of `impute=constant`, in the unit of the column.
        log_skew: columns whose skewness is beyond it, and nearer to 0 after it, get sign(x) log(1 + |x|); None: none.
        clip_quantile: numbers below this quantile and above its counterpart are clipped to them; None: not.
        clip_sigmas: numbers farther from the mean are clipped to that many standard deviations; None: not.
        scale: standard: by mean and standard deviation; robust: by median and interquartile range; quantile: to a
            normal distribution by rank; none.
        encode: embedding: the encoder embeds categories; one_hot: each is a number, 0 or 1, all 0 where unknown;
            frequency: a column is one number, the share of training rows with that category, standardised.
        min_frequency: training rows that a category needs; rarer ones of a column are merged into one.

    Attributes:
        numeric: transform of each numeric column.
        categories: numbers of the categories of each categorical column.
        metadata: num_numeric (F) and cardinalities (K numbers, including category 0), for encoders.
        notes: what is suspicious in the column and which transforms are on, one line each; written by `fit`.

    Raises:
        ConfigError: both ways to clip are on.
    """

    def __init__(
        self,
        categorical: list[str] | None = None,
        impute: Impute = "learned",
        fill_value: float = 0.0,
        log_skew: NonNegativeFloat | None = None,
        clip_quantile: ClipQuantile | None = None,
        clip_sigmas: PositiveFloat | None = None,
        scale: Scale = "standard",
        encode: CategoryEncoding = "embedding",
        min_frequency: PositiveInt = 1,
    ) -> None:
        if clip_quantile is not None and clip_sigmas is not None:
            raise ConfigError("preprocess.clip_quantile: cannot be combined with clip_sigmas; set one of them to null")
        self.categorical = categorical
        self.options = NumberOptions(impute, fill_value, log_skew, clip_quantile, clip_sigmas, scale)
        self.encode: CategoryEncoding = encode
        self.min_frequency = min_frequency
        self.numeric: dict[str, NumberTransform] = {}
        self.categories: dict[str, CategoryTransform] = {}
        self.metadata: dict[str, object] = {}
        self.notes: list[str] = []

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Infer which columns are numeric; fit the transforms of numbers, and number the categories.

        Args:
            column: the cells.
            rows: numbers of the training rows [N].

        Raises:
            ConfigError: `categorical` names a column that does not exist, or one-hot numbers would be too many.
        """
        records = Records.from_rows(column.values)
        self._check_categorical(records)
        is_training = np.isin(np.arange(len(records)), rows)
        is_present = column.is_present()
        has_cells = bool((is_training & is_present).any())
        self.numeric, self.categories, self.notes = {}, {}, []
        for name, cells in records.columns.items() if has_cells else ():
            is_categorical = name in (self.categorical or []) or name in column.categorical
            numbers = None if is_categorical else parse_training_numbers(cells, is_training)
            if numbers is None:
                self._fit_categories(name, cells, is_training, is_present)
            else:
                self._fit_numbers(name, numbers, cells, is_training)
        self._check_one_hot()
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
        transform = fit_transform(numbers[is_training], self.options)
        self.numeric[name] = transform
        self.notes += describe_transform(name, transform, self.options, int(np.isnan(numbers[is_training]).sum()))
        self.notes += describe_extremes(f"column '{name}'", numbers[is_training], numbers[~is_training])
        is_missing = np.isnan(numbers)
        if not is_missing.any():
            return
        num_infinite = sum(map(is_infinite, cells.take(np.flatnonzero(is_missing & is_cell_present(cells)))))
        if num_infinite:
            self.notes.append(f"column '{name}': {num_infinite} cells are infinite, and read as missing")

    def _fit_categories(
        self, name: str, cells: PackedValues[object], is_training: np.ndarray, is_present: np.ndarray
    ) -> None:
        words = cells.map(as_category)
        training_words = words[is_training & is_present]
        self.categories[name] = fit_categories(training_words, self.encode, self.min_frequency)
        self.notes += describe_categories(name, training_words, self.encode, self.min_frequency)
        self.notes += self.categories[name].describe_unknown(name, words[~is_training & is_present], "other rows")

    def describe_new(self, column: Column) -> list[str]:
        """Return a line about each categorical column in which new rows have categories that no training row has.

        Args:
            column: the cells of rows that were not there when this object was fitted.
        """
        records = Records.from_rows(column.values)
        is_present = column.is_present()
        lines = []
        for name, transform in self.categories.items():
            words = records.columns[name].map(as_category)
            lines += transform.describe_unknown(name, words[is_present], "rows")
        return lines

    def decode(self, value: Mapping[str, object]) -> dict[str, np.ndarray]:
        """Decode one row.

        Args:
            value: cells by column.

        Returns:
            "numeric" [F] float32, "missing" [F] bool and "categorical" [K] int64.

        Raises:
            DataError: a cell of a numeric column is neither a number nor marked as missing.
        """
        numbers = np.zeros((1, len(self.numeric)), dtype=np.float32)
        missing = np.zeros((1, len(self.numeric)), dtype=bool)
        for i, (name, transform) in enumerate(self.numeric.items()):
            number = as_number(value[name])
            if number is None:
                raise DataError(f"'{name}' is {value[name]!r}, but it is a number in all training rows")
            transformed = float(transform.apply(np.asarray(number, dtype=np.float64)))
            if abs(transformed) > MAX_DEVIATIONS:
                raise DataError(
                    f"'{name}' is {number:g}, but {transform.center:.4g} on average in the training rows; correct it, "
                    "or empty the cell"
                )
            missing[0, i] = math.isnan(transformed)
            numbers[0, i] = 0.0 if missing[0, i] else transformed
        numbered = [transform.number_cell(value[name]) for name, transform in self.categories.items()]
        parts = self._join(numbers, missing, np.array([numbered], dtype=np.int64))
        return {name: part[0] for name, part in parts.items()}

    def find_unknown(self, value: Mapping[str, object]) -> list[str]:
        """Return the columns in which a row has a category that no training row has, however categories are encoded.

        Args:
            value: cells by column.
        """
        return [name for name, transform in self.categories.items() if transform.number_cell(value[name]) == 0]

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
        for i, (name, transform) in enumerate(self.numeric.items()):
            column = parse_numbers(values.columns[name])
            if column is None:
                return None
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is checked below
                numbers[:, i] = transform.apply(column)
        if (np.abs(numbers) > MAX_DEVIATIONS).any():
            return None
        missing = np.isnan(numbers)
        numbers[missing] = 0.0
        categories = np.zeros((len(values), len(self.categories)), dtype=np.int64)
        for i, (name, category_transform) in enumerate(self.categories.items()):
            categories[:, i] = category_transform.number_cells(values.columns[name])
        parts = self._join(numbers, missing, categories)
        for part in parts.values():
            part[is_empty] = 0
        return parts

    def _join(self, numbers: np.ndarray, missing: np.ndarray, categories: np.ndarray) -> dict[str, np.ndarray]:
        """Return the parts of n rows, where encoded categories are numbers behind the others."""
        if self.encode == "embedding":
            return {"numeric": numbers, "missing": missing, "categorical": categories}
        encoded = [numbers]
        for i, transform in enumerate(self.categories.values()):
            encoded.append(transform.encode(categories[:, i], self.encode))
        joined = np.concatenate(encoded, axis=1)
        is_missing = np.zeros(joined.shape, dtype=bool)
        is_missing[:, : missing.shape[1]] = missing
        return {"numeric": joined, "missing": is_missing, "categorical": categories[:, :0]}

    def _count_categories(self) -> dict[str, int]:
        """Return the number of categories by column, the unknown one included."""
        return {name: transform.cardinality for name, transform in self.categories.items()}

    def _check_one_hot(self) -> None:
        counts = self._count_categories()
        if self.encode == "one_hot" and sum(counts.values()) > MAX_ONE_HOT:
            largest = max(counts, key=lambda name: counts[name])
            raise ConfigError(
                f"preprocess.encode: one_hot would make {sum(counts.values()) - len(counts):,} numbers of a row, more "
                f"than {MAX_ONE_HOT:,}, most of them of '{largest}'; set encode=frequency, or raise min_frequency"
            )

    def format_row(self, numeric: Sequence[float], missing: Sequence[bool], categorical: Sequence[int]) -> list[str]:
        """Return the cells of a decoded row, "name: cell", in the units of the columns; "-" where missing or unknown.

        Args:
            numeric: F numbers.
            missing: F flags.
            categorical: K numbers of categories.
        """
        lines = []
        for i, (name, transform) in enumerate(self.numeric.items()):
            lines.append(f"{name}: {'-' if missing[i] else format(transform.invert(numeric[i]), '.4g')}")
        encoded = numeric[len(self.numeric) :]
        lines += [f"{i}. number of a category: {number:.3g}" for i, number in enumerate(encoded, start=1)]
        for (name, category_transform), category in zip(self.categories.items(), categorical, strict=False):
            lines.append(f"{name}: {category_transform.find_name(category) if category > 0 else '-'}")
        return lines

    def state(self) -> dict[str, object]:
        """Return the statistics of the training rows; of the options, those that are on."""
        transforms = {name: options for name, column in self.numeric.items() if (options := column.options())}
        shares = {name: column.shares for name, column in self.categories.items() if column.shares}
        optional = {"transforms": transforms, "frequencies": shares}
        state: dict[str, object] = {
            "numeric": {name: [column.center, column.scale] for name, column in self.numeric.items()},
            "categories": {name: column.numbers for name, column in self.categories.items()},
            **{name: values for name, values in optional.items() if values},
        }
        return state if self.encode == "embedding" else {**state, "encode": self.encode}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of another object."""
        options = state.get("transforms", {})
        self.numeric = {}
        for name, (center, scale) in state["numeric"].items():
            self.numeric[name] = restore_transform(center, scale, options.get(name, {}))
        shares = state.get("frequencies", {})
        self.categories = {}
        for name, numbers in state["categories"].items():
            self.categories[name] = CategoryTransform(numbers, shares.get(name, []))
        self.encode = state.get("encode", "embedding")
        self._update_metadata()

    def _update_metadata(self) -> None:
        counts = self._count_categories()
        num_encoded = {
            "embedding": 0,
            "one_hot": sum(counts.values()) - len(counts),
            "frequency": len(counts),
        }[self.encode]
        cardinalities = list(counts.values()) if self.encode == "embedding" else []
        self.metadata = {"num_numeric": len(self.numeric) + num_encoded, "cardinalities": cardinalities}
