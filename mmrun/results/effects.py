"""How large a difference is, how likely the next run is better, and which differences so few runs can detect."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from mmrun.results.statistics import LEVEL

POWER = 0.8  # of a test
MIN_RUNS = 5  # of either group, for the interval of a win rate


@dataclass(frozen=True)
class Improvement:
    """The probability that a run of one group is better than a run of the other.

    Attributes:
        value: the probability.
        low: lower end of its 95 % interval; None for paired runs, and for fewer than MIN_RUNS in either group.
        high: its upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None


# -------------------------------------------------------------------------------------------------- size of an effect


def paired_hedges_g(values: Sequence[float], baseline: Sequence[float]) -> float | None:
    """Return Hedges' g of paired values: Cohen's d_z (Lakens, 2013) without its bias.

    Args:
        values: [n].
        baseline: their partners [n].

    Returns:
        The effect; None for fewer than three pairs, or where all differences are equal.
    """
    differences = np.subtract(values, baseline).round(12)
    if len(differences) < 3 or np.ptp(differences) == 0:
        return None
    return float(differences.mean() / differences.std(ddof=1)) * hedges_correction(len(differences) - 1)


def hedges_g(values: Sequence[float], baseline: Sequence[float]) -> float | None:
    """Return Hedges' g of independent groups: Cohen's d with the pooled deviation, without its bias (Hedges, 1981).

    Args:
        values: [n].
        baseline: [m].

    Returns:
        The effect; None for a single value in either group, or where no value differs from another of its group.
    """
    sd = _pooled_deviation(values, baseline)
    if sd is None or sd == 0:
        return None
    return float(np.mean(values) - np.mean(baseline)) / sd * hedges_correction(len(values) + len(baseline) - 2)


def hedges_correction(degrees: int) -> float:
    """Return the factor that removes the small-sample bias of Cohen's d, in its exact form (Hedges, 1981).

    Args:
        degrees: of freedom, at least 2.
    """
    logarithm = special.gammaln(degrees / 2) - special.gammaln((degrees - 1) / 2) - np.log(degrees / 2) / 2
    return float(np.exp(logarithm))


def _pooled_deviation(values: Sequence[float], baseline: Sequence[float]) -> float | None:
    """Return the pooled standard deviation of two groups; None for a single value in either."""
    degrees = len(values) + len(baseline) - 2
    if min(len(values), len(baseline)) < 2:
        return None
    squares = np.var(values, ddof=1) * (len(values) - 1) + np.var(baseline, ddof=1) * (len(baseline) - 1)
    return float(np.sqrt(squares / degrees))


# ------------------------------------------------------------------------------------------ probability of improvement


def probability_of_improvement(
    values: Sequence[float], baseline: Sequence[float], lower_is_better: bool, paired: bool = False
) -> Improvement:
    """Return the probability of improvement (Agarwal et al., 2021) with its interval. Ties count half.

    Args:
        values: [n].
        baseline: [m].
        lower_is_better: direction of the metric.
        paired: whether the runs share what pairs them; the interval is that of independent runs, so there is none then.
    """
    sign = -1 if lower_is_better else 1
    better, worse = sign * np.round(values, 12), sign * np.round(baseline, 12)
    value = _win_rate(better, worse)
    if paired or min(len(better), len(worse)) < MIN_RUNS:
        return Improvement(value)
    return Improvement(value, *_win_rate_interval(value, len(better), len(worse)))


def _win_rate_interval(value: float, n: int, m: int) -> tuple[float, float]:
    """Return the 95 % interval of the win rate of n runs over m (Newcombe, 2006, method 5)."""
    z = float(stats.norm.isf((1 - LEVEL) / 2))
    weight = (n + m) / 2 - 1

    def excess(rate: float) -> float:  # of the distance from the observed rate over z standard errors
        spread = 1 + weight * ((1 - rate) / (2 - rate) + rate / (1 + rate))
        return abs(value - rate) - z * math.sqrt(rate * (1 - rate) * spread / (n * m))

    aside = 1e-9  # at 0 and 1 the excess is 0 as well
    low = 0.0 if value == 0 else optimize.brentq(excess, 0.0, value * (1 - aside))
    high = 1.0 if value == 1 else optimize.brentq(excess, value + (1 - value) * aside, 1.0)
    return float(low), float(high)


def _win_rate(values: np.ndarray, baseline: np.ndarray) -> float:  # [n], [m]
    """Return the share of pairs of runs that the first group wins: the Mann-Whitney U over their number."""
    n, m = len(values), len(baseline)
    ranks = stats.rankdata(np.concatenate([values, baseline]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


# -------------------------------------------------------------------------------------------- detectable differences


def paired_detectable_difference(
    values: Sequence[float], baseline: Sequence[float], power: float = POWER, level: float = 1 - LEVEL
) -> float | None:
    """Return the smallest true difference that the paired t-test detects, given the observed deviation.

    Args:
        values: [n].
        baseline: their partners [n].
        power: probability of detecting it.
        level: of significance.

    Returns:
        The difference; None for a single pair, or where all differences are equal.
    """
    differences = np.subtract(values, baseline).round(12)
    n = len(differences)
    if n < 2 or np.ptp(differences) == 0:
        return None
    return float(differences.std(ddof=1)) * detectable_effect(n - 1, n**0.5, power, level)


def detectable_difference(
    values: Sequence[float], baseline: Sequence[float], power: float = POWER, level: float = 1 - LEVEL
) -> float | None:
    """Return the smallest true difference that the t-test of two groups with equal variances detects.

    Args:
        values: [n].
        baseline: [m].
        power: probability of detecting it.
        level: of significance.

    Returns:
        The difference; None for a single value in either group, or where no value differs from another of its group.
    """
    sd = _pooled_deviation(values, baseline)
    if sd is None or sd == 0:
        return None
    weight = (1 / len(values) + 1 / len(baseline)) ** -0.5
    return sd * detectable_effect(len(values) + len(baseline) - 2, weight, power, level)


def detectable_effect(degrees: int, weight: float, power: float = POWER, level: float = 1 - LEVEL) -> float:
    """Return the smallest effect that a two-sided t-test detects, in standard deviations.

    The power is the probability of the noncentral t-distribution (Cohen, 1988) beyond the critical value on the side of
    the effect; for a power of 0.5 or more the other side adds nothing noticeable.

    Args:
        degrees: of freedom.
        weight: factor between the effect and the noncentrality parameter.
        power: probability of detecting it.
        level: of significance.
    """
    critical = stats.t.isf(level / 2, degrees)

    def excess_power(effect: float) -> float:
        return float(stats.nct.sf(critical, degrees, effect * weight)) - power

    highest = 1.0
    while excess_power(highest) < 0:
        highest *= 2
    return float(optimize.brentq(excess_power, 0.0, highest, xtol=1e-12))
