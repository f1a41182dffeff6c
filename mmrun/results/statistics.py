"""Means and differences with 95 % intervals, their tests, corrections for many tests: SciPy's wherever it has one."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLES = 9_999  # of a bootstrap
PERMUTATIONS = 20_000  # a permutation test is exact where there are no more: up to 14 pairs, or 8 runs a side


class Estimate(NamedTuple):
    """A figure, its 95 % interval, and the p of its being 0: None where values are single or have no spread."""

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None


# ------------------------------------------------------------------------------------------------------ estimates


def mean(values: Sequence[float], interval: str = "t") -> Estimate:
    """Estimate the mean, untested. The interval is Student's, or bootstrapped (`bca`)."""
    value = float(np.mean(values))
    return Estimate(value, *_of_mean(values, interval)) if _spread(values) else Estimate(value)


def deviation(values: Sequence[float]) -> float | None:
    """Return the sample's standard deviation; None for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired_difference(
    values: Sequence[float], baseline: Sequence[float], test: str = "t", interval: str = "t"
) -> Estimate:
    """Estimate the mean difference of values that belong together, and test it: t, wilcoxon or permutation."""
    differences = np.subtract(values, baseline).round(12)  # what differs by rounding alone is a tie
    estimate = mean(differences.tolist(), interval)
    testable = _spread(differences) if test == "t" else len(differences) > 1 and bool(differences.any())
    return estimate._replace(p=float(PAIRED_TESTS[test](differences).pvalue)) if testable else estimate


def difference(values: Sequence[float], baseline: Sequence[float], test: str = "t", interval: str = "t") -> Estimate:
    """Estimate the difference of two independent means, and test it: t, wilcoxon or permutation."""
    value = float(np.mean(values) - np.mean(baseline))
    if min(len(values), len(baseline)) < 2 or not (_spread(values) or _spread(baseline)):
        return Estimate(value)
    p = float(INDEPENDENT_TESTS[test](values, baseline).pvalue)
    if interval == "t":
        low, high = _welch(values, baseline).confidence_interval(LEVEL)
    else:
        low, high = bootstrap((values, baseline), _mean_difference)
    return Estimate(value, float(low), float(high), p)


def _of_mean(values: Sequence[float], interval: str) -> tuple[float, float]:
    if interval == "t":
        low, high = stats.ttest_1samp(values, 0.0).confidence_interval(LEVEL)
        return float(low), float(high)
    return bootstrap((values,), np.mean)


def bootstrap(
    samples: Sequence[Sequence[float] | np.ndarray],
    statistic: Callable[..., Any],
    method: str = "BCa",
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Return a bootstrap interval, repeatable: bias-corrected and accelerated (BCa; Efron, 1987) or `percentile`."""
    found = stats.bootstrap(
        samples,
        statistic,
        vectorized=True,
        n_resamples=resamples,
        confidence_level=LEVEL,
        method=method,
        batch=max(1, 2_000_000 // sum(map(len, samples))),  # 16 MB at once
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


# ---------------------------------------------------------------------------------------------------------- tests


def _t(differences: np.ndarray) -> Any:
    return stats.ttest_1samp(differences, 0.0)


def _signs(differences: np.ndarray) -> Any:
    """Flip the signs of the differences in every way (Fisher, 1935)."""
    return stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=2_000,
        rng=np.random.default_rng(0),
    )


def _welch(values: Sequence[float], baseline: Sequence[float]) -> Any:
    """Allow for unequal variances (Welch, 1947)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one side may be all alike: the other's spread is enough
        return stats.ttest_ind(values, baseline, equal_var=False)


def _exchanges(values: Sequence[float], baseline: Sequence[float]) -> Any:
    """Exchange the runs of two groups in every way."""
    return stats.permutation_test(
        (values, baseline),
        _mean_difference,
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=2_000,
        rng=np.random.default_rng(0),
    )


def _mean_difference(values: np.ndarray, baseline: np.ndarray, axis: int) -> Any:
    return np.mean(values, axis=axis) - np.mean(baseline, axis=axis)


PAIRED_TESTS: dict[str, Callable[[np.ndarray], Any]] = {"t": _t, "wilcoxon": stats.wilcoxon, "permutation": _signs}
INDEPENDENT_TESTS: dict[str, Callable[[Sequence[float], Sequence[float]], Any]] = {
    "t": _welch,
    "wilcoxon": stats.mannwhitneyu,  # Wilcoxon's rank-sum test
    "permutation": _exchanges,
}


# ---------------------------------------------------------------------------------------------------- corrections


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p values so that the chance of any false finding among them stays bounded (Holm, 1979)."""
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, number in enumerate(sorted(range(len(ps)), key=lambda number: ps[number])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[number]))
        adjusted[number] = highest
    return adjusted


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Adjust p values so that the expected share of false ones among the findings stays bounded (1995)."""
    found: list[float] = stats.false_discovery_control(ps, method="bh").tolist()
    return found


CORRECTIONS: dict[str, Callable[[Sequence[float]], list[float]]] = {"holm": holm, "bh": benjamini_hochberg}


def _spread(values: Sequence[float] | np.ndarray) -> bool:
    """Return whether values differ by more than rounding; where they do not, t is undefined or absurdly large."""
    return float(np.ptp(values)) > 1e-12 * max(1.0, float(np.max(np.abs(values))))
