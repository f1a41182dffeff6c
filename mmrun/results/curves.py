"""Compares groups of runs along an axis (labelled share, budget, model size): where one overtakes the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from scipy import stats

from mmrun.errors import ConfigError
from mmrun.results import comparability, compare, selection, statistics
from mmrun.results.compare import Comparison, Question, Row, check_family, is_significant
from mmrun.results.run_values import Group, get_metric, lookup_values, parse_number
from mmrun.results.schema import RunRecord
from mmrun.results.variation import Variation

WIDE = 10.0  # an axis over more than this factor is logarithmic
MIN_SEEDS = 5  # of a crossing's interval: with fewer, those of the crossings that are found cover less than 93 %
STEPS = 1_000  # between two values of the axis, at which a crossing's interval is evaluated

ValuesBySeed = dict[Group, list[float]]  # of a metric, by the values of the keys that pair runs: usually the seed


@dataclass(frozen=True)
class Crossing:
    """Where the mean of a group crosses that of its baseline, if the runs show that it does.

    A crossing is shown by two values of the axis at which the group differs significantly from its baseline, on equal
    terms and with opposite signs. p-values are corrected by Holm over all groups and values of the curves.

    Attributes:
        group: one value for each key of `by`.
        baseline: likewise.
        left: nearest value below the crossing at which the group differs significantly; None: no crossing is shown.
        right: nearest value above it.
        at: where the straight lines between the means cross; None: no crossing is shown.
        low: lower end of its 95 % interval; None unless both groups have the same seeds at all values, at least
            MIN_SEEDS.
        high: its upper end.
        overtakes: whether the group is better above `at`, and worse below it; None where `at` is None.
        unmatched: names of what changes along the axis besides its key, which shows no crossing then.
    """

    group: Group
    baseline: Group
    left: float | None = None
    right: float | None = None
    at: float | None = None
    low: float | None = None
    high: float | None = None
    overtakes: bool | None = None
    unmatched: tuple[str, ...] = ()


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
    question, chosen = compare.choose_baseline(selection.group_runs(list(runs), question.by), question)
    logarithmic = values[0] > 0 and values[-1] / values[0] > WIDE
    comparisons = compare.correct_together([compare.compare(by_value[value], question) for value in values])
    curves = Curves(question, key, logarithmic, values, comparisons, [], [*notices, *chosen])
    curves.notices.extend(check_family(comparisons))
    unequal = _find_unequal_along(curves, list(chain(*by_value.values())))
    curves.notices.extend(comparability.shorten_notices(unequal))
    tested = compare.correct_together(comparisons, "holm")
    for group, baseline in _pairs_at_every_value(comparisons):
        if unequal:
            curves.crossings.append(Crossing(group, baseline, unmatched=tuple(unequal)))
            continue
        rows = [_find_row(comparison, group, baseline) for comparison in tested]
        crossings = _find_crossings(curves, rows, _compute_differences(by_value, group, baseline, question))
        curves.crossings.extend(crossings or [Crossing(group, baseline)])
        if any(crossing.low is None for crossing in crossings):
            curves.notices.append(_explain_missing_interval(group, baseline, question))
    return curves


def _find_unequal_along(curves: Curves, runs: Sequence[RunRecord]) -> dict[str, str]:
    """Return notices about what changes along the axis besides its key, unless a comparison tells it."""
    question = curves.question
    by = [*question.by, curves.across]
    variation = Variation(runs, by, question.paired)
    unequal = comparability.find_unequal_terms(runs, by, question.paired, question.match, variation)
    told = set[str]()
    for comparison in curves.comparisons:
        told.update(*(row.unmatched for row in comparison.rows))
    return {name: f"along {curves.across}: {notice}" for name, notice in unequal.items() if name not in told}


def _group_by_value(runs: Sequence[RunRecord], key: str) -> dict[float, list[RunRecord]]:
    """Group runs by the value of a key, ascending."""
    by_value: dict[float, list[RunRecord]] = {}
    for (text,), runs_of_value in selection.group_runs(list(runs), [key]).items():
        value = parse_number(text)
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
) -> np.ndarray:
    """Return the difference between a group and its baseline for each seed that both have at every value [S, V]."""
    keys = question.paired or ("seed",)
    columns = []  # one for each value
    for runs in by_value.values():
        values = _values_by_seed(runs, group, question, keys)
        base_values = _values_by_seed(runs, baseline, question, keys)
        columns.append(_difference_by_seed(values, base_values))
    seeds = sorted(set.intersection(*map(set, columns)))
    differences = np.empty((len(seeds), len(columns)))
    for row, seed in enumerate(seeds):
        differences[row] = [column[seed] for column in columns]
    return differences


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


def _find_row(comparison: Comparison, group: Group, baseline: Group) -> Row:
    """Return the row that compares a group with its baseline."""
    return next(row for row in comparison.rows if (row.group, row.baseline) == (group, baseline))


def _find_crossings(curves: Curves, rows: Sequence[Row], differences: np.ndarray) -> list[Crossing]:
    """Find the crossings that significant differences of opposite signs show.

    Args:
        curves: their axis and question.
        rows: of one group, one for each value; p-values are corrected over all groups and values.
        differences: by seed and value [S, V].
    """
    to_value = np.exp if curves.logarithmic else np.asarray
    axis = np.log(curves.values) if curves.logarithmic else np.array(curves.values)
    means = np.array([0.0 if row.difference is None else row.difference for row in rows])
    counted = [not row.unmatched and is_significant(row) for row in rows]
    same_seeds = len(differences) >= MIN_SEEDS and np.allclose(differences.mean(0), means)
    crossings = []
    for left, right in find_crossing_spans(np.where(counted, np.sign(means), 0).astype(int).tolist()):
        span = slice(left, right + 1)
        low, high = None, None
        if same_seeds:
            low, high = map(float, to_value(compute_crossing_interval(differences[:, span], axis[span])))
        assert rows[0].baseline is not None
        crossing = Crossing(
            group=rows[0].group,
            baseline=rows[0].baseline,
            left=curves.values[left],
            right=curves.values[right],
            at=float(to_value(locate_crossing(means[span], axis[span]))),
            low=low,
            high=high,
            overtakes=bool(means[right] > 0) != curves.question.lower_is_better,
        )
        crossings.append(crossing)
    return crossings


def _explain_missing_interval(group: Group, baseline: Group, question: Question) -> str:
    """Return a notice about a crossing without an interval."""
    keys = ",".join(question.paired or ("seed",))
    names = f"{','.join(group)} and {','.join(baseline)}"
    return f"{names}: an interval of their crossing needs the same {keys} at every value, at least {MIN_SEEDS}"


def find_crossing_spans(signs: Sequence[int]) -> list[tuple[int, int]]:
    """Find the neighbouring significant points whose signs are opposite.

    Args:
        signs: of the differences at each point; 0 where a difference is not significant.

    Returns:
        The places of either point.
    """
    significant = [place for place, sign in enumerate(signs) if sign]
    return [(left, right) for left, right in pairwise(significant) if signs[left] != signs[right]]


def locate_crossing(means: np.ndarray, axis: np.ndarray) -> float:
    """Return where straight lines between points cross 0; the middle of these places where there are several.

    Args:
        means: differences at each point [V]; the first and the last have opposite signs.
        axis: positions of the points [V], ascending.
    """
    places = []
    nonzero = np.flatnonzero(means)  # a difference of exactly 0 lies between its neighbours
    for left, right in pairwise(nonzero.tolist()):
        if (means[left] > 0) == (means[right] > 0):
            continue
        if right - left > 1:  # at the one point that is 0, or in the middle of several
            places.append((axis[left + 1] + axis[right - 1]) / 2)
        else:
            part = means[left] / (means[left] - means[right])
            places.append(axis[left] + (axis[right] - axis[left]) * part)
    return float(np.median(places))


def compute_crossing_interval(differences: np.ndarray, axis: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a crossing: where the mean difference is neither significantly above nor below 0.

    Between two points the difference of a seed is interpolated linearly. At the true crossing its mean is 0, so that
    Student's t rejects it in 5 % of cases, whatever the slopes (Fieller, 1954).

    Args:
        differences: by seed and point [S, V]; the first and the last mean are significant and of opposite signs.
        axis: positions of the points [V], ascending.
    """
    S = len(differences)
    fine = np.concatenate([*(np.linspace(*ends, STEPS, endpoint=False) for ends in pairwise(axis)), axis[-1:]])
    right = np.clip(np.searchsorted(axis, fine, side="right"), 1, len(axis) - 1)
    part = (fine - axis[right - 1]) / (axis[right] - axis[right - 1])
    along = differences[:, right - 1] * (1 - part) + differences[:, right] * part  # [S, number of positions]
    reach = stats.t.isf((1 - statistics.LEVEL) / 2, S - 1) * along.std(0, ddof=1) / S**0.5
    undecided = np.flatnonzero(np.abs(along.mean(0)) <= reach)
    if not len(undecided):  # all seeds cross at one place
        place = locate_crossing(differences.mean(0), axis)
        return place, place
    first, last = max(undecided[0] - 1, 0), min(undecided[-1] + 1, len(fine) - 1)
    return float(fine[first]), float(fine[last])
