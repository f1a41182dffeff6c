"""Compares groups of runs along an axis (labelled share, budget, model size): where one overtakes the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from mmrun.errors import ConfigError
from mmrun.results import compare, selection, statistics
from mmrun.results.compare import Comparison, Question
from mmrun.results.schema import RunRecord
from mmrun.results.selection import Group, get_metric, lookup_values

WIDE = 10.0  # an axis over more than this factor is logarithmic
RESAMPLES = 2_000  # of the seeds

ValuesBySeed = dict[Group, list[float]]  # of a metric, by the values of the keys that pair runs: usually the seed


class SignChange(NamedTuple):
    """Where a curve of differences changes its sign.

    Attributes:
        at: position on the axis.
        rising: whether the sign becomes positive.
    """

    at: float
    rising: bool


@dataclass(frozen=True)
class Crossing:
    """Where the mean of a group crosses that of its baseline.

    Attributes:
        group: one value for each key of `by`.
        baseline: likewise.
        at: value on the axis; None: nowhere.
        low: lower end of its 95 % interval, over the resamples that cross; None where none does.
        high: its upper end.
        share: of the resamples that cross in the same direction; in any direction where `at` is None.
        overtakes: whether the group is better above `at`, and worse below it; None where `at` is None.
    """

    group: Group
    baseline: Group
    at: float | None
    low: float | None
    high: float | None
    share: float | None
    overtakes: bool | None


@dataclass(frozen=True)
class Curves:
    """A comparison for each value of a key, and where the means cross.

    Attributes:
        question: what was compared, and how.
        across: the key.
        logarithmic: whether lines are straight on a logarithmic axis.
        values: of the key, ascending.
        comparisons: one for each value.
        crossings: of each group with its baseline.
        notices: about the curves; each comparison has its own.
    """

    question: Question
    across: str
    logarithmic: bool
    values: list[float]
    comparisons: list[Comparison]
    crossings: list[Crossing]
    notices: list[str]


def compare_across(runs: Sequence[RunRecord], question: Question, key: str, notices: Sequence[str] = ()) -> Curves:
    """Compare the groups at each value of a key, and find where their means cross.

    Args:
        runs: finished runs.
        question: what to compare, and how.
        key: as `lookup` takes it; its values are numbers.
        notices: about these runs, to pass on.

    Raises:
        ConfigError: a value is not a number, or there is only one.
    """
    by_value = _group_by_value(runs, key)
    values = list(by_value)
    logarithmic = values[0] > 0 and values[-1] / values[0] > WIDE
    comparisons = [compare.compare(by_value[value], question) for value in values]
    crossings, messages = [], list(notices)
    for group, baseline in _pairs_at_every_value(comparisons):
        differences, missing_interval = _compute_differences(by_value, group, baseline, question)  # [S, V]
        messages += missing_interval
        axis = np.log(values) if logarithmic else np.array(values)
        crossings += _find_crossings(group, baseline, differences, axis, logarithmic, question.lower_is_better)
    return Curves(question, key, logarithmic, values, comparisons, crossings, messages)


def _group_by_value(runs: Sequence[RunRecord], key: str) -> dict[float, list[RunRecord]]:
    """Group runs by the value of a key, ascending."""
    by_value: dict[float, list[RunRecord]] = {}
    for (text,), runs_of_value in selection.group_runs(list(runs), [key]).items():
        value = selection.parse_number(text)
        if value is None:
            raise ConfigError(f"--curve-over {key}: {text!r} is not a number; use --rank-over for values without order")
        by_value[value] = runs_of_value
    if len(by_value) < 2:
        raise ConfigError(f"--curve-over {key}: all runs have {next(iter(by_value)):g}; a curve needs two values")
    return dict(sorted(by_value.items()))


def _pairs_at_every_value(comparisons: Sequence[Comparison]) -> list[tuple[Group, Group]]:
    """Return the groups that are compared at every value, with their baselines."""
    common: list[tuple[Group, Group]] = []
    for row in comparisons[0].rows:
        if row.baseline is not None:
            common.append((row.group, row.baseline))
    for comparison in comparisons[1:]:
        pairs = {(row.group, row.baseline) for row in comparison.rows}
        common = [pair for pair in common if pair in pairs]
    return common


def _compute_differences(
    by_value: Mapping[float, Sequence[RunRecord]], group: Group, baseline: Group, question: Question
) -> tuple[np.ndarray, list[str]]:
    """Return the differences between a group and its baseline.

    Returns:
        [S, V]: for each seed that both groups have at every value; of the means, with a notice, where there are none.
    """
    keys = question.paired or ("seed",)
    columns, means = [], []  # one for each value
    for runs in by_value.values():
        values = _values_by_seed(runs, group, question, keys)
        base_values = _values_by_seed(runs, baseline, question, keys)
        columns.append(_difference_by_seed(values, base_values))
        means.append(np.mean([*chain(*values.values())]) - np.mean([*chain(*base_values.values())]))
    seeds = sorted(set.intersection(*map(set, columns)))
    if len(seeds) < 2:
        shared = f"{','.join(group)} and {','.join(baseline)} share {len(seeds)} {','.join(keys)} at every value"
        return np.array([means]), [f"{shared}: a crossing has no interval"]
    differences = np.empty((len(seeds), len(columns)))
    for row, seed in enumerate(seeds):
        differences[row] = [column[seed] for column in columns]
    return differences, []


def _values_by_seed(runs: Sequence[RunRecord], group: Group, question: Question, keys: Sequence[str]) -> ValuesBySeed:
    """Return the metric of a group's runs by seed, or by what else pairs them."""
    values: ValuesBySeed = {}
    for run in runs:
        value = get_metric(run, question.metric)
        if value is not None and lookup_values(run, question.by) == group:
            values.setdefault(lookup_values(run, keys), []).append(value)
    return values


def _difference_by_seed(values: ValuesBySeed, base_values: ValuesBySeed) -> dict[Group, float]:
    """Return the differences of the seeds of which both groups have exactly one run."""
    differences = {}
    for seed in values.keys() & base_values.keys():
        if len(values[seed]) == len(base_values[seed]) == 1:
            differences[seed] = values[seed][0] - base_values[seed][0]
    return differences


# ------------------------------------------------------------------------------------------------------- crossings


def _find_crossings(
    group: Group, baseline: Group, differences: np.ndarray, axis: np.ndarray, logarithmic: bool, lower_is_better: bool
) -> list[Crossing]:
    """Find where the mean difference is 0, and how far that moves when the seeds are resampled."""
    changes = find_sign_changes(differences.mean(0), axis)
    resampled = _resample_sign_changes(differences, axis) if len(differences) > 1 else []
    to_value = np.exp if logarithmic else np.asarray
    if not changes:
        share = float(np.mean(list(map(bool, resampled)))) if resampled else None
        return [Crossing(group, baseline, None, None, None, share, None)]
    crossings = []
    for change in changes:
        at, overtakes = float(to_value(change.at)), change.rising != lower_is_better
        nearest = _nearest_changes(resampled, change)
        if not nearest:
            share = 0.0 if resampled else None
            crossings.append(Crossing(group, baseline, at, None, None, share, overtakes))
            continue
        low, high = to_value(np.quantile(nearest, [(1 - statistics.LEVEL) / 2, (1 + statistics.LEVEL) / 2]))
        share = len(nearest) / len(resampled)
        crossings.append(Crossing(group, baseline, at, float(low), float(high), share, overtakes))
    return crossings


def find_sign_changes(differences: np.ndarray, axis: np.ndarray) -> list[SignChange]:
    """Find where straight lines between points change their sign; touching 0 is no change.

    Args:
        differences: at each point [V].
        axis: positions of the points [V], ascending.
    """
    changes = []
    nonzero = np.flatnonzero(differences)  # a difference of exactly 0 lies between its neighbours
    for left, right in pairwise(nonzero.tolist()):
        if (differences[left] > 0) == (differences[right] > 0):
            continue
        if right - left > 1:  # at the one point that is 0, or in the middle of several
            at = (axis[left + 1] + axis[right - 1]) / 2
        else:
            at = axis[left] + (axis[right] - axis[left]) * differences[left] / (differences[left] - differences[right])
        changes.append(SignChange(float(at), bool(differences[right] > 0)))
    return changes


def _resample_sign_changes(differences: np.ndarray, axis: np.ndarray) -> list[list[SignChange]]:
    """Return the sign changes of the mean over resampled seeds, each with its differences at all values [S, V].

    SciPy's bootstrap takes no statistic that may be undefined.
    """
    S = len(differences)
    seeds = np.random.default_rng(0).integers(0, S, (RESAMPLES, S))
    return [find_sign_changes(means, axis) for means in differences[seeds].mean(1)]


def _nearest_changes(resampled: Sequence[Sequence[SignChange]], change: SignChange) -> list[float]:
    """Return, of each resample that changes in the same direction, where it does so nearest to a given change."""
    nearest = []
    for changes in resampled:
        places = [candidate.at for candidate in changes if candidate.rising == change.rising]
        if places:
            nearest.append(min(places, key=lambda place: abs(place - change.at)))
    return nearest
