"""Groups of runs along an axis (labelled share, budget, model size): where one overtakes the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from mmrun.errors import ConfigError
from mmrun.results import compare, selection, statistics
from mmrun.results.compare import Comparison, Question
from mmrun.results.selection import Group, Metrics, lookup, metric_value, text

WIDE = 10.0  # an axis over more than this factor is logarithmic
RESAMPLES = 2_000


class Zero(NamedTuple):
    """Where a curve of differences changes its sign."""

    at: float
    rising: bool


@dataclass(frozen=True)
class Crossing:
    """Where a group's mean crosses its baseline's."""

    group: Group
    baseline: Group
    at: float | None  # None: nowhere on the axis
    low: float | None  # 95 % interval, over the resamples that cross
    high: float | None
    share: float | None  # of the resamples, that cross in the same direction; any, where `at` is None
    overtakes: bool | None  # the group is better above, and worse below


@dataclass(frozen=True)
class Curves:
    """A comparison for each value of a key, and where the means cross."""

    question: Question
    across: str
    logarithmic: bool
    values: list[float]
    comparisons: list[Comparison]
    crossings: list[Crossing]
    notices: list[str]  # about the curves; each comparison has its own


def across(runs: Sequence[Metrics], question: Question, key: str, notices: Sequence[str] = ()) -> Curves:
    """Compare at each value of a key whose values are numbers, and find the crossings."""
    by_value = _by_value(runs, key)
    values = list(by_value)
    logarithmic = values[0] > 0 and values[-1] / values[0] > WIDE
    comparisons = [compare.compare(by_value[value], question) for value in values]
    crossings, found = [], list(notices)
    for group, baseline in _pairs(comparisons):
        differences, few = _differences(by_value, group, baseline, question)  # [S, V]
        found += few
        axis = np.log(values) if logarithmic else np.array(values)
        crossings += _crossings(group, baseline, differences, axis, logarithmic, question.lower_is_better)
    return Curves(question, key, logarithmic, values, comparisons, crossings, found)


def _by_value(runs: Sequence[Metrics], key: str) -> dict[float, list[Metrics]]:
    found: dict[float, list[Metrics]] = {}
    for (word,), of_value in selection.grouped(list(runs), [key]).items():
        value = selection.number(word)
        if value is None:
            raise ConfigError(f"--curve-over {key}: {word!r} is no number; use --rank-over for what has no order")
        found[value] = of_value
    if len(found) < 2:
        raise ConfigError(f"--curve-over {key}: all runs have {next(iter(found)):g}; a curve needs two values")
    return dict(sorted(found.items()))


def _pairs(comparisons: Sequence[Comparison]) -> list[tuple[Group, Group]]:
    """Return the groups that are compared at every value, with their baselines."""
    at_each = [{(row.group, row.baseline) for row in compared.rows} for compared in comparisons]
    everywhere = set.intersection(*at_each)
    first = [(row.group, row.baseline) for row in comparisons[0].rows if row.baseline is not None]
    return [pair for pair in first if pair in everywhere]


def _differences(
    by_value: Mapping[float, Sequence[Metrics]], group: Group, baseline: Group, question: Question
) -> tuple[np.ndarray, list[str]]:  # [S, V]
    """Return the differences of the seeds that both groups have at every value, or of the means without any."""
    keys = question.paired or ("seed",)
    columns, means = [], []
    for runs in by_value.values():
        one, other = (_by_seed(runs, wanted, question, keys) for wanted in (group, baseline))
        single = [seed for seed in one.keys() & other.keys() if len(one[seed]) == len(other[seed]) == 1]
        columns.append({seed: one[seed][0] - other[seed][0] for seed in single})
        means.append(np.mean([*chain(*one.values())]) - np.mean([*chain(*other.values())]))
    seeds = sorted(set.intersection(*(set(column) for column in columns)))
    if len(seeds) < 2:
        said = f"{','.join(group)} and {','.join(baseline)} share {len(seeds)} {','.join(keys)} at every value"
        return np.array([means]), [f"{said}: a crossing has no interval"]
    return np.array([[column[seed] for column in columns] for seed in seeds]), []


def _by_seed(
    runs: Sequence[Metrics], group: Group, question: Question, keys: Sequence[str]
) -> dict[tuple[str, ...], list[float]]:
    """Return a group's figures by seed, or by what else pairs them."""
    found: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        value = metric_value(run, question.metric)
        if value is not None and tuple(text(lookup(run, key)) for key in question.by) == group:
            found.setdefault(tuple(text(lookup(run, key)) for key in keys), []).append(value)
    return found


# ------------------------------------------------------------------------------------------------------- crossings


def _crossings(
    group: Group, baseline: Group, differences: np.ndarray, axis: np.ndarray, logarithmic: bool, lower_is_better: bool
) -> list[Crossing]:
    """Find where the mean difference is 0, and how that moves when the seeds are drawn again."""
    found = zeros(differences.mean(0), axis)
    resampled = _resampled(differences, axis) if len(differences) > 1 else []
    back = np.exp if logarithmic else np.asarray
    if not found:
        share = float(np.mean([bool(each) for each in resampled])) if resampled else None
        return [Crossing(group, baseline, None, None, None, share, None)]
    crossings = []
    for at, rising in found:
        overtakes = rising != lower_is_better
        near = [place for each in resampled if (place := _nearest(each, at, rising)) is not None]
        if not near:
            share = 0.0 if resampled else None
            crossings.append(Crossing(group, baseline, float(back(at)), None, None, share, overtakes))
            continue
        low, high = back(np.quantile(near, [(1 - statistics.LEVEL) / 2, (1 + statistics.LEVEL) / 2]))
        share = len(near) / len(resampled)
        crossings.append(Crossing(group, baseline, float(back(at)), float(low), float(high), share, overtakes))
    return crossings


def zeros(differences: np.ndarray, axis: np.ndarray) -> list[Zero]:  # both [V]
    """Find where straight lines between the points change sign; a touch is none."""
    found = []
    known = np.flatnonzero(differences)  # what is exactly 0 lies between its neighbours
    for left, right in pairwise(known.tolist()):
        if (differences[left] > 0) == (differences[right] > 0):
            continue
        if right - left > 1:  # 0 at a value: there; over several: in the middle of them
            at = (axis[left + 1] + axis[right - 1]) / 2
        else:
            at = axis[left] + (axis[right] - axis[left]) * differences[left] / (differences[left] - differences[right])
        found.append(Zero(float(at), bool(differences[right] > 0)))
    return found


def _resampled(differences: np.ndarray, axis: np.ndarray) -> list[list[Zero]]:
    """Return the crossings of the means of seeds drawn again, each with its differences at all values.

    SciPy's bootstrap has no place for a statistic that need not exist.
    """
    S = len(differences)
    drawn = np.random.default_rng(0).integers(0, S, (RESAMPLES, S))
    return [zeros(means, axis) for means in differences[drawn].mean(1)]


def _nearest(found: Sequence[Zero], at: float, rising: bool) -> float | None:
    places = [zero.at for zero in found if zero.rising == rising]
    return min(places, key=lambda place: abs(place - at)) if places else None
