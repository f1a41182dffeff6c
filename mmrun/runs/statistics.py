"""Means and differences with 95 % intervals, all by Student's t (SciPy), and Holm's correction for many tests."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95


class Estimate(NamedTuple):
    """A figure, its 95 % interval, and the p of its being 0: None where values are single or have no spread."""

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None


def mean(values: Sequence[float]) -> Estimate:
    """Estimate the mean."""
    if not _spread(values):
        return Estimate(float(np.mean(values)))
    return _estimate(float(np.mean(values)), stats.ttest_1samp(values, 0.0))


def deviation(values: Sequence[float]) -> float | None:
    """Give the sample's standard deviation; None for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> Estimate:
    """Estimate the mean difference of values that belong together, by the paired t-test."""
    return mean(np.subtract(values, baseline).tolist())


def difference(values: Sequence[float], baseline: Sequence[float]) -> Estimate:
    """Estimate the difference of two independent means, by the t-test of unequal variances (Welch, 1947)."""
    value = float(np.mean(values) - np.mean(baseline))
    if min(len(values), len(baseline)) < 2 or not (_spread(values) or _spread(baseline)):
        return Estimate(value)
    return _estimate(value, stats.ttest_ind(values, baseline, equal_var=False))


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p values so that the chance of any false finding among them stays bounded (Holm, 1979)."""
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, number in enumerate(sorted(range(len(ps)), key=lambda number: ps[number])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[number]))
        adjusted[number] = highest
    return adjusted


def _estimate(value: float, test: Any) -> Estimate:
    low, high = test.confidence_interval(LEVEL)
    return Estimate(value, float(low), float(high), float(test.pvalue))


def _spread(values: Sequence[float]) -> bool:
    """Tell whether values differ by more than rounding; where they do not, t is undefined or absurdly large."""
    return float(np.ptp(values)) > 1e-12 * max(1.0, float(np.max(np.abs(values))))
