"""Means and differences with 95 % intervals, their tests, and corrections for several tests; SciPy does most of it."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from scipy import stats

LEVEL = 0.95  # of intervals
RESAMPLES = 9_999  # of a bootstrap
MIN_BOOTSTRAP = 50  # runs: bootstrap intervals of fewer are refused, as resampling cannot produce unseen values
PERMUTATIONS = 20_000  # up to so many a permutation test is exact: up to 14 pairs, or 8 runs in each group

Values = Sequence[float] | np.ndarray  # one a run


class Estimate(NamedTuple):
    """An estimated mean or difference. What is None is not defined: for a single value, or values without spread.

    Attributes:
        value: the estimate.
        low: lower end of its 95 % interval.
        high: its upper end.
        p: p-value of its being 0.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    def clip(self, low: float, high: float) -> "Estimate":
        """Return the estimate with its interval cut at the bounds of what is estimated, which does not change coverage.

        Args:
            low: no true value is lower.
            high: no true value is higher.
        """
        if self.low is None or self.high is None:
            return self
        return self._replace(low=max(self.low, low), high=min(self.high, high))


class HypothesisTest(Protocol):
    """What SciPy's tests return."""

    @property
    def pvalue(self) -> float:
        """The p-value."""


class TTest(HypothesisTest, Protocol):
    """What SciPy's t-tests return."""

    def confidence_interval(self, level: float) -> tuple[float, float]:
        """Return the confidence interval of the mean, or of the difference of the means."""


# ------------------------------------------------------------------------------------------------------ estimates


def estimate_mean(values: Values, interval: str = "t") -> Estimate:
    """Estimate the mean, without a test.

    Args:
        values: [n], at least one.
        interval: `t` for Student's, or `bca` for a bootstrap.
    """
    value = float(np.mean(values))
    return Estimate(value, *_mean_interval(values, interval)) if _has_spread(values) else Estimate(value)


def standard_deviation(values: Values) -> float | None:
    """Return the standard deviation of a sample.

    Args:
        values: [n].

    Returns:
        The square root of the unbiased variance; None for a single value.
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def estimate_paired_difference(values: Values, baseline: Values, test: str = "t", interval: str = "t") -> Estimate:
    """Estimate the mean difference of paired values, and test it.

    Args:
        values: [n].
        baseline: their partners [n].
        test: t | wilcoxon | permutation.
        interval: t | bca.
    """
    differences = np.subtract(values, baseline).round(12)  # values that differ by rounding alone are ties
    estimate = estimate_mean(differences, interval)
    testable = _has_spread(differences) if test == "t" else len(differences) > 1 and bool(differences.any())
    return estimate._replace(p=float(PAIRED_TESTS[test](differences).pvalue)) if testable else estimate


def estimate_difference(values: Values, baseline: Values, test: str = "t", interval: str = "t") -> Estimate:
    """Estimate the difference of the means of two independent groups, and test it.

    Args:
        values: [n].
        baseline: [m].
        test: t (Welch's) | wilcoxon (rank sum) | permutation.
        interval: t | bca.
    """
    value = float(np.mean(values) - np.mean(baseline))
    if min(len(values), len(baseline)) < 2 or not (_has_spread(values) or _has_spread(baseline)):
        return Estimate(value)
    p = float(INDEPENDENT_TESTS[test](values, baseline).pvalue)
    if interval == "t":
        low, high = _welch_test(values, baseline).confidence_interval(LEVEL)
    else:
        low, high = bootstrap_interval((values, baseline), _mean_difference)
    return Estimate(value, float(low), float(high), p)


def _mean_interval(values: Values, interval: str) -> tuple[float, float]:
    """Return the 95 % interval of a mean."""
    if interval == "t":
        low, high = _t_test(values).confidence_interval(LEVEL)
        return float(low), float(high)
    return bootstrap_interval((values,), np.mean)


def bootstrap_interval(
    samples: Sequence[Values], statistic: Callable[..., np.ndarray], method: str = "BCa", resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic; it is the same on every call.

    Args:
        samples: one or several, each [n] and resampled on its own.
        statistic: takes the samples and `axis`, along which it reduces them.
        method: `BCa`, bias-corrected and accelerated (Efron, 1987), or `percentile`.
        resamples: number of resamples.
    """
    result = stats.bootstrap(
        samples,
        statistic,
        vectorized=True,
        n_resamples=resamples,
        confidence_level=LEVEL,
        method=method,
        batch=max(1, 2_000_000 // sum(map(len, samples))),  # 16 MB at once
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


# ---------------------------------------------------------------------------------------------------------- tests


def _t_test(values: Values) -> TTest:
    """Test whether a mean is 0 (Student's t)."""
    result: TTest = stats.ttest_1samp(values, 0.0)
    return result


def _sign_permutation_test(differences: np.ndarray) -> HypothesisTest:
    """Flip the signs of the differences in every way (Fisher, 1935)."""
    result: HypothesisTest = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=2_000,
        rng=np.random.default_rng(0),
    )
    return result


def _welch_test(values: Values, baseline: Values) -> TTest:
    """Test whether two means differ, allowing for unequal variances (Welch, 1947)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one group may have no spread: that of the other is enough
        result: TTest = stats.ttest_ind(values, baseline, equal_var=False)
    return result


def _group_permutation_test(values: Values, baseline: Values) -> HypothesisTest:
    """Exchange the runs of two groups in every way."""
    result: HypothesisTest = stats.permutation_test(
        (values, baseline),
        _mean_difference,
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=2_000,
        rng=np.random.default_rng(0),
    )
    return result


def _rank_sum_test(values: Values, baseline: Values) -> HypothesisTest:
    """Compare the ranks of two groups; where there are ties, by exchanging few runs in every way (Wilcoxon, 1945)."""
    ranks = stats.rankdata(np.concatenate([values, baseline]))
    if len(np.unique(ranks)) < len(ranks) and math.comb(len(ranks), len(values)) <= PERMUTATIONS:
        return _group_permutation_test(ranks[: len(values)], ranks[len(values) :])
    result: HypothesisTest = stats.mannwhitneyu(values, baseline)
    return result


def _mean_difference(values: np.ndarray, baseline: np.ndarray, axis: int) -> np.ndarray:
    """Return the difference of the means along an axis."""
    difference: np.ndarray = np.mean(values, axis=axis) - np.mean(baseline, axis=axis)
    return difference


PAIRED_TESTS: dict[str, Callable[[np.ndarray], HypothesisTest]] = {
    "t": _t_test,
    "wilcoxon": stats.wilcoxon,  # signed ranks
    "permutation": _sign_permutation_test,
}
INDEPENDENT_TESTS: dict[str, Callable[[Values, Values], HypothesisTest]] = {
    "t": _welch_test,
    "wilcoxon": _rank_sum_test,
    "permutation": _group_permutation_test,
}


# ---------------------------------------------------------------------------------------------------- corrections


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that the probability of any false positive stays bounded (Holm, 1979).

    Returns:
        The adjusted p-values, in the same order.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda number: p_values[number])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = highest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that the false discovery rate stays bounded (Benjamini & Hochberg, 1995).

    Returns:
        The adjusted p-values, in the same order.
    """
    adjusted: list[float] = stats.false_discovery_control(p_values, method="bh").tolist()
    return adjusted


CORRECTIONS: dict[str, Callable[[Sequence[float]], list[float]]] = {"holm": holm, "bh": benjamini_hochberg}


def _has_spread(values: Values) -> bool:
    """Return whether values differ by more than rounding; otherwise t is undefined or absurdly large."""
    return float(np.ptp(values)) > 1e-12 * max(1.0, float(np.max(np.abs(values))))
