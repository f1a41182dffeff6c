"""The numbers of one table column: filled, logged, clipped and scaled, by what the training rows show."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from mmrun.data.moments import Moments
from mmrun.data.packed import PackedValues
from mmrun.data.sheets.numbers import as_number, parse_numbers

Impute = Literal["learned", "mean", "median", "constant"]
Scale = Literal["standard", "robust", "quantile", "none"]

NUM_QUANTILES = 100  # that the quantile transform interpolates between


IMPUTED = {"mean": "the mean", "median": "the median"}
SCALED = {
    "robust": "scaled by median and interquartile range",
    "quantile": "mapped to normal quantiles",
    "none": "not scaled",
}


@dataclass(frozen=True)
class NumberOptions:
    """How numbers are transformed; see the arguments of `tabular.Cells`."""

    impute: Impute = "learned"
    fill_value: float = 0.0
    log_skew: float | None = None
    clip_quantile: float | None = None
    clip_sigmas: float | None = None
    scale: Scale = "standard"


@dataclass(frozen=True)
class NumberTransform:
    """The fitted transform of one column.

    Attributes:
        center: subtracted.
        scale: divided by; 0: the column is constant in the training rows, and becomes 0 in every row.
        log: whether the signed logarithm is taken, sign(x) log(1 + |x|).
        limits: numbers outside are clipped, after the logarithm.
        quantiles: increasing numbers and their normal scores; numbers between them are interpolated.
        fill: replaces a missing number, in the unit of the column; None: it is 0 and marked as missing.
    """

    center: float
    scale: float
    log: bool = False
    limits: tuple[float, float] | None = None
    quantiles: tuple[list[float], list[float]] | None = None
    fill: float | None = None

    def apply(self, numbers: np.ndarray) -> np.ndarray:
        """Transform numbers.

        Args:
            numbers: of any shape, NaN where missing.

        Returns:
            Numbers of the same shape; NaN where missing, unless they are filled.
        """
        if self.fill is not None:
            numbers = np.where(np.isnan(numbers), self.fill, numbers)
        if self.log:
            numbers = _log(numbers)
        if self.limits is not None:
            numbers = np.clip(numbers, *self.limits)
        if self.quantiles is not None:
            numbers = np.interp(numbers, *self.quantiles)
        return (numbers - self.center) / self.scale if self.scale > 0 else numbers * 0.0

    def invert(self, number: float) -> float:
        """Return a transformed number in the unit of the column, as far as it was not clipped.

        Args:
            number: transformed.
        """
        number = self.center + self.scale * number
        if self.quantiles is not None:
            number = float(np.interp(number, self.quantiles[1], self.quantiles[0]))
        return float(np.sign(number) * np.expm1(abs(number))) if self.log else number

    def options(self) -> dict[str, Any]:
        """Return what is on besides the scaling, as JSON values by attribute."""
        values = {"log": self.log or None, "limits": self.limits, "quantiles": self.quantiles, "fill": self.fill}
        return {name: value for name, value in values.items() if value is not None}


def parse_training_numbers(cells: PackedValues[object], is_training: np.ndarray) -> np.ndarray | None:
    """Return the numbers [N] of a column, NaN for missing ones and words of other rows; None if it is not numeric.

    Args:
        cells: of all rows.
        is_training: which of them decide, [N].
    """
    numbers = parse_numbers(cells)
    if numbers is not None:
        return numbers
    if parse_numbers(cells.take(np.flatnonzero(is_training))) is None:
        return None
    others = [math.nan if (number := as_number(cell)) is None else number for cell in cells]
    return np.array(others, dtype=np.float64)


def describe_transform(name: str, transform: NumberTransform, options: NumberOptions, num_missing: int) -> list[str]:
    """Return a line about what is on besides the defaults, or none.

    Args:
        name: of the column.
        transform: of the column.
        options: with which it was fitted.
        num_missing: cells of the training rows.
    """
    steps = []
    if transform.fill is not None:
        value = f"{transform.fill:.4g}"
        named = value if options.impute == "constant" else f"{IMPUTED[options.impute]}, {value}"
        steps.append(f"missing cells ({num_missing:,} of training rows) become {named}")
    if transform.log:
        steps.append("logged")
    if transform.limits is not None:
        low, high = transform.limits
        unit = " of the logarithm" if transform.log else ""
        steps.append(f"clipped to {low:.4g} to {high:.4g}{unit}")
    if options.scale != "standard":
        steps.append(SCALED[options.scale])
    return [f"column '{name}': {'; '.join(steps)}"] if steps else []


def restore_transform(center: float, scale: float, options: Mapping[str, Any]) -> NumberTransform:
    """Return a transform from what `state` of a preprocessor holds.

    Args:
        center: subtracted.
        scale: divided by.
        options: what `NumberTransform.options` returned, after JSON.
    """
    pairs = {name: tuple(options[name]) for name in ("limits", "quantiles") if name in options}
    return NumberTransform(center, scale, **{**options, **pairs})


def fit_transform(numbers: np.ndarray, options: NumberOptions) -> NumberTransform:
    """Fit the transform of one column.

    Args:
        numbers: of the training rows [N], NaN where missing.
        options: how they are transformed.
    """
    fill = _choose_fill(_drop_missing(numbers), options)
    if fill is not None:
        numbers = np.where(np.isnan(numbers), fill, numbers)
    log = options.log_skew is not None and _is_skewed(_drop_missing(numbers), options.log_skew)
    if log:
        numbers = _log(numbers)
    limits = _choose_limits(_drop_missing(numbers), options)
    if limits is not None:
        numbers = np.clip(numbers, *limits)
    quantiles = None
    if options.scale == "quantile" and len(np.unique(_drop_missing(numbers))) > 1:
        quantiles = _fit_quantiles(_drop_missing(numbers))
        numbers = np.interp(numbers, *quantiles)
    center, scale = _fit_scale(numbers, options.scale)
    return NumberTransform(center, scale, log, limits, quantiles, fill)


def _drop_missing(numbers: np.ndarray) -> np.ndarray:
    known: np.ndarray = numbers[~np.isnan(numbers)]
    return known


def _log(numbers: np.ndarray) -> np.ndarray:
    """Return the signed logarithm."""
    logged: np.ndarray = np.sign(numbers) * np.log1p(np.abs(numbers))
    return logged


def _choose_fill(known: np.ndarray, options: NumberOptions) -> float | None:
    """Return what replaces a missing number; 0 where no training row has one."""
    if options.impute == "learned":
        return None
    if options.impute == "constant":
        return options.fill_value
    if len(known) == 0:
        return 0.0
    return float(known.mean() if options.impute == "mean" else np.median(known))


def _is_skewed(known: np.ndarray, threshold: float) -> bool:
    """Return whether numbers are more skewed than a threshold, and less so once they are logged."""
    skewness = abs(_compute_skewness(known))
    return skewness > threshold and abs(_compute_skewness(_log(known))) < skewness


def _compute_skewness(known: np.ndarray) -> float:
    deviation = known.std() if len(known) else 0.0
    return float((((known - known.mean()) / deviation) ** 3).mean()) if deviation > 0 else 0.0


def _choose_limits(known: np.ndarray, options: NumberOptions) -> tuple[float, float] | None:
    """Return the smallest and largest number that is kept, or None where nothing is clipped."""
    if len(known) == 0:
        return None
    if options.clip_quantile is not None:
        low, high = np.quantile(known, (options.clip_quantile, 1 - options.clip_quantile))
        return float(low), float(high)
    if options.clip_sigmas is not None:
        margin = options.clip_sigmas * known.std()
        return float(known.mean() - margin), float(known.mean() + margin)
    return None


def _fit_quantiles(known: np.ndarray) -> tuple[list[float], list[float]]:
    """Return increasing quantiles and their normal scores; equal quantiles share the mean of their scores."""
    levels = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    scores = np.array([NormalDist().inv_cdf(level) for level in levels])
    quantiles, places = np.unique(np.quantile(known, levels), return_inverse=True)
    return quantiles.tolist(), (np.bincount(places, scores) / np.bincount(places)).tolist()


def _fit_scale(numbers: np.ndarray, scale: Scale) -> tuple[float, float]:
    """Return what is subtracted and divided by; a constant is divided by 0, which `apply` understands."""
    moments = Moments(1)
    moments.update(numbers[None])
    mean, deviation = float(moments.mean[0]), float(moments.deviation[0])
    if deviation == 0 or scale == "standard":
        return mean, deviation
    if scale == "robust":
        low, median, high = np.quantile(_drop_missing(numbers), (0.25, 0.5, 0.75))
        return float(median), float(high - low) or deviation
    return 0.0, 1.0
