"""Groups of runs side by side: mean, interval, difference to a baseline, cost. All numbers come from metrics.json."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from mmrun.errors import ConfigError
from mmrun.results import comparability, costs, effects, selection, statistics
from mmrun.results.effects import Improvement
from mmrun.results.selection import Group, Groups, Metrics, leaves_that_differ, lookup, metric_value, text

LOWER_IS_BETTER = ("loss", "nll", "mse", "rmse", "mae", "calibration_error")


@dataclass(frozen=True)
class Question:
    """What is asked of some runs."""

    metric: str = "test/accuracy"  # empty: a report chooses it
    by: tuple[str, ...] = ("strategy",)  # keys; runs with the same values form a group
    against: str | None = None  # the baseline: a value of one key of `by`, or one of each
    paired: tuple[str, ...] = ()  # keys; empty: the groups count as independent
    test: str = "t"  # t | wilcoxon | permutation
    interval: str = "t"  # t | bca
    correct: str = "holm"  # holm | bh | none
    match: str = "budget"  # what compared groups must have spent alike: budget | epochs | seconds | flops
    amortise: int = 1  # the number of fusions that share what encoders learned alone

    @property
    def lower_is_better(self) -> bool:
        """Return the metric's direction."""
        return any(part in LOWER_IS_BETTER for part in self.metric.replace("/", ".").split("."))


@dataclass(frozen=True)
class Row:
    """One group of runs. What is None is not defined, or was not asked for."""

    group: Group  # one value for each key of `by`
    runs: list[str]
    n: int
    mean: float
    sd: float | None
    low: float | None  # 95 % interval of the mean
    high: float | None
    cost: costs.Costs  # means; amortised where that is asked for
    baseline: Group | None = None
    pairs: int | None = None  # behind the difference, where paired
    difference: float | None = None  # to the baseline, in the metric's own unit
    difference_low: float | None = None  # its 95 % interval
    difference_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    effect: float | None = None  # Hedges' g
    improvement: Improvement | None = None  # the chance that a run beats one of the baseline's
    detectable: float | None = None  # the smallest true difference that so many runs find in 4 of 5 cases
    break_even: dict[str, int | None] | None = None  # by cost: fusions from which this costs less than the baseline
    unmatched: tuple[str, ...] = ()  # in what it is not on equal terms with the baseline
    best: bool = False  # of all on equal terms: the best mean, better than the baseline with p < 0.05 (p_adjusted)


@dataclass(frozen=True)
class Comparison:
    """The rows, a baseline before those compared with it, and what to know before believing them."""

    question: Question
    rows: list[Row]
    notices: list[str]


def compare(runs: Sequence[Metrics], question: Question, notices: Sequence[str] = ()) -> Comparison:
    """Group finished runs by choices or config keys, and compare the groups. `notices` are what is known already."""
    if question.paired and question.against is None:
        raise ConfigError("--paired: with the runs of which group? Name it with --against")
    if question.amortise < 1:
        raise ConfigError(f"--amortise: {question.amortise} is no number of fusions; 1 charges all to one")
    having, left_out = selection.measured(list(runs), question.metric)
    groups = selection.grouped(having, question.by)
    against = question.against
    baselines = {} if against is None else selection.baselines(groups, selection.typed(against))
    found = [*notices, *left_out]
    found += comparability.differences(having, [*question.by, *question.paired], question.match).values()
    found += comparability.unequal_seeds(groups, question.paired or ["seed"]) + comparability.few_runs(groups)

    rows = []
    for group in selection.ordered(groups, baselines):
        row = _row(group, groups[group], question)
        if group in baselines:
            row = _compared(row, groups, baselines[group], question)
            row, said = _judged(row, groups, question)
            found += said
        rows.append(row)
    if question.paired:
        found += comparability.blunt_test(question.test, [row.pairs for row in rows if row.pairs is not None])
    return Comparison(question, _marked(_corrected(rows, question.correct), question.lower_is_better), found)


def _row(group: Group, runs: list[Metrics], question: Question) -> Row:
    values = metric_values(runs, question.metric)
    mean = statistics.mean(values, question.interval)
    return Row(
        group=group,
        runs=[run["run"] for run in runs],
        n=len(runs),
        mean=mean.value,
        sd=statistics.deviation(values),
        low=mean.low,
        high=mean.high,
        cost=costs.mean_costs(runs, question.amortise),
    )


def metric_values(runs: Sequence[Metrics], metric: str) -> list[float]:
    """Return a figure of each run that has it."""
    return [value for run in runs if (value := metric_value(run, metric)) is not None]


# -------------------------------------------------------------------------------------------------- the difference


def _compared(row: Row, groups: Groups, baseline: Group, question: Question) -> Row:
    runs, base_runs, pairs = groups[row.group], groups[baseline], None
    row = replace(row, baseline=baseline)
    if question.paired:
        runs, base_runs = pair(runs, base_runs, question.paired)
        pairs = len(runs)
        if not pairs:
            return replace(row, pairs=0)
    values, base_values = metric_values(runs, question.metric), metric_values(base_runs, question.metric)
    if question.paired:
        found = statistics.paired_difference(values, base_values, question.test, question.interval)
        effect, detectable = effects.paired_effect, effects.paired_detectable
    else:
        found = statistics.difference(values, base_values, question.test, question.interval)
        effect, detectable = effects.effect, effects.smallest_detectable
    return replace(
        row,
        pairs=pairs,
        difference=found.value,
        difference_low=found.low,
        difference_high=found.high,
        p=found.p,
        effect=effect(values, base_values),
        improvement=effects.improvement(values, base_values, question.lower_is_better),
        detectable=detectable(values, base_values),
    )


def pair(runs: list[Metrics], base_runs: list[Metrics], keys: Sequence[str]) -> tuple[list[Metrics], list[Metrics]]:
    """Return the runs of two groups that have a partner in the other, in one order."""
    by_pair, base_by_pair = _by_pair(runs, keys), _by_pair(base_runs, keys)
    both = sorted(by_pair.keys() & base_by_pair.keys())
    return [by_pair[key] for key in both], [base_by_pair[key] for key in both]


def _by_pair(runs: list[Metrics], keys: Sequence[str]) -> dict[tuple[str, ...], Metrics]:
    found: dict[tuple[str, ...], Metrics] = {}
    for run in runs:
        of_run = tuple(text(lookup(run, key)) for key in keys)
        if of_run in found:
            other = found[of_run]
            same = " ".join(f"{key}={value}" for key, value in zip(keys, of_run, strict=True))
            unlike = leaves_that_differ(other, run)
            raise ConfigError(
                f"--paired: {other['run']} and {run['run']} are of one group and both have {same}; "
                f"tell them apart with --where or --by{f', for example {unlike[0]}' if unlike else ''}"
            )
        found[of_run] = run
    return found


# -------------------------------------------------------------------------------------------------- is it believable


def _judged(row: Row, groups: Groups, question: Question) -> tuple[Row, list[str]]:
    """Add how a row's terms differ from its baseline's, and from how many fusions on it would cost less."""
    assert row.baseline is not None
    runs, base_runs = groups[row.group], groups[row.baseline]
    keys = [*question.by, *question.paired]
    unmatched = list(comparability.differences([*runs, *base_runs], keys, question.match))
    asked_apart = any(key.startswith("budget") for key in keys) and question.match == "budget"
    overspent = None
    if "budget" not in unmatched and not asked_apart:
        overspent = comparability.overspent(row.group, runs, row.baseline, base_runs, question.match)
    if overspent is not None:
        unmatched.append("spending")
    pays = {name: costs.break_even(runs, base_runs, name) for name in costs.PAYS}
    judged = replace(row, unmatched=tuple(unmatched), break_even=pays)
    return judged, [] if overspent is None else [overspent]


def _corrected(rows: list[Row], correct: str) -> list[Row]:
    if correct == "none":
        return rows
    tested = [row.p for row in rows if row.p is not None]
    adjusted = iter(statistics.CORRECTIONS[correct](tested))
    return [row if row.p is None else replace(row, p_adjusted=next(adjusted)) for row in rows]


def _marked(rows: list[Row], lower_is_better: bool) -> list[Row]:
    """Mark the best of a baseline and the rows on equal terms with it, where chance hardly explains its lead."""
    best = []
    for _, family in groupby(rows, key=lambda row: row.group if row.baseline is None else row.baseline):
        ranked = [row for row in family if not row.unmatched]
        best.append((min if lower_is_better else max)(ranked, key=lambda row: row.mean))
    return [replace(row, best=row in best and significant(row)) for row in rows]


def significant(row: Row) -> bool:
    """Return whether a row's difference is significant."""
    p = row.p if row.p_adjusted is None else row.p_adjusted
    return p is not None and p < 1 - statistics.LEVEL
