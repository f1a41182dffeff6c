"""Compares groups of runs: mean, interval, difference to a baseline, cost. All numbers come from metrics.json."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

from mmrun.errors import ConfigError
from mmrun.known_metrics import find_bounds
from mmrun.results import comparability, costs, effects, selection, statistics
from mmrun.results.effects import Improvement
from mmrun.results.formatting import pluralize
from mmrun.results.index import is_lower_better
from mmrun.results.inference_table import build_group_table
from mmrun.results.run_values import Group, find_differing_keys, get_metric, lookup_values, parse_values
from mmrun.results.schema import RunRecord
from mmrun.results.selection import Groups
from mmrun.results.table import Table
from mmrun.results.variation import Variation


@dataclass(frozen=True)
class Question:
    """What to compare, and how.

    Attributes:
        metric: split and name; empty: a report chooses it.
        by: keys; runs with the same values form a group.
        against: the baseline: a value of one key of `by`, or one of each; None: there is none.
        paired: keys that pair runs with runs of the baseline; empty: the groups count as independent.
        test: t | wilcoxon | permutation.
        interval: t | bca.
        correct: correction for several tests: holm | bh | none.
        match: what compared groups must have spent alike: budget | epochs | seconds | flops.
        amortise: number of fusions that share the stages which train encoders alone.
    """

    metric: str = "test/accuracy"
    by: tuple[str, ...] = ("strategy",)
    against: str | None = None
    paired: tuple[str, ...] = ()
    test: str = "t"
    interval: str = "t"
    correct: str = "holm"
    match: str = "budget"
    amortise: int = 1

    @property
    def lower_is_better(self) -> bool:
        """The direction of the metric."""
        return is_lower_better(self.metric_name)

    @property
    def metric_name(self) -> str:
        """The metric without its split."""
        return self.metric.partition("/")[2]


@dataclass(frozen=True)
class Row:
    """One group of runs. Values that are not defined, or were not requested, are None.

    Attributes:
        group: one value for each key of `by`.
        runs: names of the runs.
        n: number of runs.
        mean: of the metric.
        sd: sample standard deviation.
        low: lower end of the 95 % interval of the mean.
        high: its upper end.
        cost: mean costs, amortised where that is requested.
        baseline: the group that this one is compared with.
        pairs: number of pairs behind the difference; None where runs are not paired.
        difference: mean less that of the baseline, in the unit of the metric.
        difference_low: lower end of its 95 % interval.
        difference_high: its upper end.
        p: p-value of the difference.
        p_adjusted: the same, corrected for several tests.
        effect: Hedges' g.
        improvement: the probability that a run is better than one of the baseline.
        detectable: the smallest true difference that so many runs detect with a power of 0.8.
        break_even: by cost, the number of fusions from which on this group costs less than the baseline.
        unmatched: names of what makes the comparison with the baseline unequal.
        best: whether it has the best mean among all that are compared on equal terms, and is better than the baseline
            with p < 0.05 (p_adjusted).
    """

    group: Group
    runs: list[str]
    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    cost: costs.Costs
    baseline: Group | None = None
    pairs: int | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    effect: float | None = None
    improvement: Improvement | None = None
    detectable: float | None = None
    break_even: dict[str, int | None] | None = None
    unmatched: tuple[str, ...] = ()
    best: bool = False


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        question: what was compared, and how.
        rows: by group, each baseline before the groups that are compared with it.
        notices: what to know before trusting the rows.
        tests: number of p-values that are corrected together: those of the rows, and of other comparisons that answer
            the same question.
        inference: what predicting takes with compressed runs; None: there are none.
    """

    question: Question
    rows: list[Row]
    notices: list[str]
    tests: int = 0
    inference: Table | None = None


def compare(runs: Sequence[RunRecord], question: Question, notices: Sequence[str] = ()) -> Comparison:
    """Group finished runs by choices or config keys, and compare the groups.

    Args:
        runs: those without the metric are left out.
        question: what to compare, and how.
        notices: about these runs, to pass on.

    Raises:
        ConfigError: the options do not fit together, or no run has a key, the metric or the baseline.
    """
    if question.amortise < 1:
        raise ConfigError(f"--amortise: {question.amortise} is not a number of fusions; 1 charges everything to one")
    selected, left_out = selection.select_with_metric(list(runs), question.metric)
    groups = selection.group_runs(selected, question.by)
    question, chosen = choose_baseline(groups, question)
    if question.interval == "bca":
        _check_bootstrap(groups)
    against = question.against
    baselines = {} if against is None else selection.match_baselines(groups, parse_values(against))
    messages = [*notices, *left_out, *chosen]
    variation = Variation(selected, question.by, question.paired)
    unequal = comparability.find_unequal_terms(selected, question.by, question.paired, question.match, variation)
    messages += comparability.shorten_notices(unequal)
    messages += comparability.check_seeds(groups, question.paired or ["seed"]) + comparability.check_run_counts(groups)

    rows = []
    for group in selection.order_groups(groups, baselines):
        row = _describe_group(group, groups[group], question)
        if group in baselines:
            row = _add_difference(row, groups, baselines[group], question)
            row, spending = _add_terms(row, groups, question, variation)
            messages += spending
        rows.append(row)
    (comparison,) = correct_together([Comparison(question, rows, messages)])
    messages += check_smallest_p([comparison])
    members = [(row.group, groups[row.group]) for row in comparison.rows]
    return replace(comparison, inference=build_group_table(question.by, members))


def choose_baseline(groups: Groups, question: Question) -> tuple[Question, list[str]]:
    """Make the first group the baseline of a question that pairs runs without naming one.

    Args:
        groups: of all runs.
        question: whose baseline may be missing.

    Returns:
        The question, and a notice if a baseline was chosen.
    """
    if not question.paired or question.against is not None:
        return question, []
    first = ",".join(selection.order_groups(groups, {})[0])
    notice = f"--paired without --against: the baseline is the first group, {first}; --against GROUP chooses another"
    return replace(question, against=first), [notice]


def _check_bootstrap(groups: Groups) -> None:
    """Refuse bootstrap intervals of few runs, which are too narrow."""
    for group, runs in sorted(groups.items()):
        if len(runs) < statistics.MIN_BOOTSTRAP:
            raise ConfigError(
                f"--interval bca: {','.join(group)} has {pluralize(len(runs), 'run')}; with fewer than "
                f"{statistics.MIN_BOOTSTRAP} a 95 % bootstrap interval covers less than 93 %; use --interval t"
            )


def _describe_group(group: Group, runs: list[RunRecord], question: Question) -> Row:
    """Return the row of a group before it is compared."""
    values = get_metric_values(runs, question.metric)
    mean = statistics.estimate_mean(values, question.interval).clip(*find_bounds(question.metric_name, values))
    return Row(
        group=group,
        runs=[run["run"] for run in runs],
        n=len(runs),
        mean=mean.value,
        sd=statistics.standard_deviation(values),
        low=mean.low,
        high=mean.high,
        cost=costs.compute_mean_costs(runs, question.amortise),
    )


def get_metric_values(runs: Sequence[RunRecord], metric: str) -> list[float]:
    """Return the values of a metric, leaving out runs without it.

    Args:
        runs: finished runs.
        metric: split and name: test/accuracy.
    """
    values = []
    for run in runs:
        value = get_metric(run, metric)
        if value is not None:
            values.append(value)
    return values


# -------------------------------------------------------------------------------------------------- the difference


def _add_difference(row: Row, groups: Groups, baseline: Group, question: Question) -> Row:
    """Compare a group with its baseline."""
    runs, base_runs, pairs = groups[row.group], groups[baseline], None
    row = replace(row, baseline=baseline)
    if question.paired:
        runs, base_runs = pair_runs(runs, base_runs, question.paired)
        pairs = len(runs)
        if not pairs:
            return replace(row, pairs=0)
    values, base_values = get_metric_values(runs, question.metric), get_metric_values(base_runs, question.metric)
    if question.paired:
        estimate = statistics.estimate_paired_difference(values, base_values, question.test, question.interval)
        effect = effects.paired_hedges_g(values, base_values)
        detectable = effects.paired_detectable_difference(values, base_values)
    else:
        estimate = statistics.estimate_difference(values, base_values, question.test, question.interval)
        effect = effects.hedges_g(values, base_values)
        detectable = effects.detectable_difference(values, base_values)
    low, high = find_bounds(question.metric_name, [*values, *base_values])
    estimate = estimate.clip(low - high, high - low)
    return replace(
        row,
        pairs=pairs,
        difference=estimate.value,
        difference_low=estimate.low,
        difference_high=estimate.high,
        p=estimate.p,
        effect=effect,
        improvement=effects.probability_of_improvement(values, base_values, question.lower_is_better, bool(pairs)),
        detectable=detectable,
    )


def pair_runs(
    runs: list[RunRecord], base_runs: list[RunRecord], keys: Sequence[str]
) -> tuple[list[RunRecord], list[RunRecord]]:
    """Pair the runs of two groups.

    Args:
        runs: of one group.
        base_runs: of the other.
        keys: runs with the same values of these form a pair.

    Returns:
        The runs of either group that have a partner, in the same order.

    Raises:
        ConfigError: several runs of one group have the same values.
    """
    by_pair, base_by_pair = _index_by_pair(runs, keys), _index_by_pair(base_runs, keys)
    common = sorted(by_pair.keys() & base_by_pair.keys())
    return [by_pair[values] for values in common], [base_by_pair[values] for values in common]


def _index_by_pair(runs: list[RunRecord], keys: Sequence[str]) -> dict[Group, RunRecord]:
    """Return the runs of one group by the values of the pairing keys, which must tell them apart."""
    by_pair: dict[Group, RunRecord] = {}
    for run in runs:
        values = lookup_values(run, keys)
        if values in by_pair:
            first = by_pair[values]
            common = " ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
            differing = find_differing_keys(first, run)
            example = f", for example {differing[0]}" if differing else ""
            raise ConfigError(
                f"--paired: {first['run']} and {run['run']} are in the same group and both have {common}; "
                f"tell them apart with --where or --by{example}"
            )
        by_pair[values] = run
    return by_pair


# ------------------------------------------------------------------------------------------ equal terms, p-values


def _add_terms(row: Row, groups: Groups, question: Question, variation: Variation) -> tuple[Row, list[str]]:
    """Add in what a row and its baseline are unequal, and from how many fusions on the row would cost less."""
    assert row.baseline is not None
    by, paired, match = question.by, question.paired, question.match
    runs, base_runs = groups[row.group], groups[row.baseline]
    unmatched = list(comparability.find_unequal_terms([*runs, *base_runs], by, paired, match, variation))
    compares_budgets = any(key.startswith("budget") for key in (*by, *paired)) and match == "budget"
    spending = None
    if "budget" not in unmatched and not compares_budgets:
        spending = comparability.check_spending(row.group, runs, row.baseline, base_runs, question.match)
    if spending is not None:
        unmatched.append("spending")
    break_even: dict[str, int | None] = {
        name: costs.compute_break_even(runs, base_runs, name) for name in costs.BREAK_EVEN_COSTS
    }
    row = replace(row, unmatched=tuple(unmatched), break_even=break_even)
    return row, [] if spending is None else [spending]


def correct_together(comparisons: Sequence[Comparison], correct: str | None = None) -> list[Comparison]:
    """Correct the p-values of several comparisons as one family, and mark the best rows by them.

    Args:
        comparisons: with the same question.
        correct: correction for several tests: holm | bh | none; None: that of the question.
    """
    correct = comparisons[0].question.correct if correct is None else correct
    rows = list(chain.from_iterable(comparison.rows for comparison in comparisons))
    p_values = [row.p for row in rows if row.p is not None]
    adjusted = iter([None] * len(p_values) if correct == "none" else statistics.CORRECTIONS[correct](p_values))
    corrected = []
    for comparison in comparisons:
        rows = [row if row.p is None else replace(row, p_adjusted=next(adjusted)) for row in comparison.rows]
        rows = _mark_best(rows, comparison.question.lower_is_better)
        corrected.append(replace(comparison, rows=rows, tests=len(p_values)))
    return corrected


def check_smallest_p(comparisons: Sequence[Comparison]) -> list[str]:
    """Check whether the tests of comparisons that are corrected together can reach p < 0.05.

    Args:
        comparisons: with the same question.

    Returns:
        A notice where they cannot.
    """
    question, sizes = comparisons[0].question, []
    for comparison in comparisons:
        runs = {row.group: row.n for row in comparison.rows}
        for row in comparison.rows:
            if row.baseline is not None:
                sizes.append((row.n, runs[row.baseline]) if row.pairs is None else (row.pairs,))
    return comparability.check_smallest_p(question.test, sizes, comparisons[0].tests, question.correct)


def check_family(comparisons: Sequence[Comparison]) -> list[str]:
    """Check whether any test can reach p < 0.05 after all comparisons are corrected together.

    Args:
        comparisons: with the same question; each has notices about itself.

    Returns:
        A notice where none can, unless a comparison has it already.
    """
    told = set(chain.from_iterable(comparison.notices for comparison in comparisons))
    return [notice for notice in check_smallest_p(comparisons) if notice not in told]


def _mark_best(rows: list[Row], lower_is_better: bool) -> list[Row]:
    """Mark the best of each baseline and the rows on equal terms with it, if its lead is significant."""
    best = []
    for _, family in groupby(rows, key=lambda row: row.group if row.baseline is None else row.baseline):
        ranked = [row for row in family if not row.unmatched]
        best.append((min if lower_is_better else max)(ranked, key=lambda row: row.mean))
    return [replace(row, best=row in best and is_significant(row)) for row in rows]


def is_significant(row: Row) -> bool:
    """Return whether the difference of a row to its baseline is significant.

    Args:
        row: its p-value must be below 0.05, corrected where a correction was requested.
    """
    p = row.p if row.p_adjusted is None else row.p_adjusted
    return p is not None and p < 1 - statistics.LEVEL
