"""How large a difference is, how likely the next run is better, and what so few runs can see at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from mmrun.results.statistics import LEVEL, RESAMPLES, bootstrap

POWER = 0.8


@dataclass(frozen=True)
class Improvement:
    """The chance that a run of one group beats a run of the other, and its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None


# -------------------------------------------------------------------------------------------------- size of an effect


def paired_effect(values: Sequence[float], baseline: Sequence[float]) -> float | None:
    """Return Hedges' g of paired values: Cohen's d_z (Lakens, 2013), less its bias; None where it is not defined."""
    differences = np.subtract(values, baseline).round(12)
    if len(differences) < 3 or np.ptp(differences) == 0:
        return None
    return float(differences.mean() / differences.std(ddof=1)) * unbiased(len(differences) - 1)


def effect(values: Sequence[float], baseline: Sequence[float]) -> float | None:
    """Return Hedges' g of independent groups: Cohen's d over the pooled deviation, less its bias (Hedges, 1981)."""
    sd = _pooled(values, baseline)
    if sd is None or sd == 0:
        return None
    return float(np.mean(values) - np.mean(baseline)) / sd * unbiased(len(values) + len(baseline) - 2)


def unbiased(degrees: int) -> float:
    """Return the factor that takes the bias of few runs from Cohen's d: Hedges' J, exact (1981)."""
    logarithm = special.gammaln(degrees / 2) - special.gammaln((degrees - 1) / 2) - np.log(degrees / 2) / 2
    return float(np.exp(logarithm))


def _pooled(values: Sequence[float], baseline: Sequence[float]) -> float | None:
    degrees = len(values) + len(baseline) - 2
    if min(len(values), len(baseline)) < 2:
        return None
    squares = np.var(values, ddof=1) * (len(values) - 1) + np.var(baseline, ddof=1) * (len(baseline) - 1)
    return float(np.sqrt(squares / degrees))


# ------------------------------------------------------------------------------------------ probability of improvement


def improvement(values: Sequence[float], baseline: Sequence[float], lower_is_better: bool) -> Improvement:
    """Return the probability of improvement, ties counting half, with a bootstrap interval (Agarwal et al., 2021)."""
    sign = -1 if lower_is_better else 1
    better, worse = sign * np.round(values, 12), sign * np.round(baseline, 12)
    value = float(_beats(better, worse, axis=-1))
    if min(len(better), len(worse)) < 2:
        return Improvement(value)
    resamples = min(RESAMPLES, 400_000 // (len(better) + len(worse)))  # of hundreds of runs, fewer tell as much
    return Improvement(value, *bootstrap((better, worse), _beats, "percentile", resamples))


def _beats(values: np.ndarray, baseline: np.ndarray, axis: int) -> np.ndarray:  # [..., n], [..., m]
    """Return the share of pairs of runs that the first group wins: Mann and Whitney's U over their number."""
    n, m = values.shape[axis], baseline.shape[axis]
    ranks = stats.rankdata(np.concatenate([values, baseline], axis), axis=axis)
    wins: np.ndarray = (ranks[..., :n].sum(axis) - n * (n + 1) / 2) / (n * m)
    return wins


# --------------------------------------------------------------------------------------------- what can be seen at all


def paired_detectable(
    values: Sequence[float], baseline: Sequence[float], power: float = POWER, level: float = 1 - LEVEL
) -> float | None:
    """Return the smallest true difference that the paired t-test finds with some power, the deviation as observed."""
    differences = np.subtract(values, baseline).round(12)
    n = len(differences)
    if n < 2 or np.ptp(differences) == 0:
        return None
    return float(differences.std(ddof=1)) * detectable(n - 1, n**0.5, power, level)


def smallest_detectable(
    values: Sequence[float], baseline: Sequence[float], power: float = POWER, level: float = 1 - LEVEL
) -> float | None:
    """Return the same for independent groups, by the t-test of equal variances."""
    sd = _pooled(values, baseline)
    if sd is None or sd == 0:
        return None
    weight = (1 / len(values) + 1 / len(baseline)) ** -0.5
    return sd * detectable(len(values) + len(baseline) - 2, weight, power, level)


def detectable(degrees: int, weight: float, power: float = POWER, level: float = 1 - LEVEL) -> float:
    """Return the effect, in deviations, whose t is found with some power; `weight` makes it t's noncentrality.

    The power of the two-sided test is the noncentral t's (Cohen, 1988) beyond the critical value on the effect's own
    side; from a power of a half on, the other side adds nothing that counts.
    """
    critical = stats.t.isf(level / 2, degrees)

    def missing(effect: float) -> float:
        return float(stats.nct.sf(critical, degrees, effect * weight)) - power

    highest = 1.0
    while missing(highest) < 0:
        highest *= 2
    return float(optimize.brentq(missing, 0.0, highest, xtol=1e-12))
