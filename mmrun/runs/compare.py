"""Groups of runs side by side: mean, interval, difference to a baseline, cost. All numbers come from metrics.json."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from mmrun.errors import ConfigError
from mmrun.runs import fairness, selection, statistics
from mmrun.runs.folder import WITHOUT_EFFECT
from mmrun.runs.selection import Group, Groups, Metrics, figure, leaves, lookup, text

LOWER_IS_BETTER = ("loss", "nll", "mse", "rmse", "mae", "calibration_error")
COSTS = ("samples", "seconds", "flops", "peak_memory", "learned_parameters")


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
    cost: dict[str, float | None]  # means
    baseline: Group | None = None
    pairs: int | None = None  # behind the difference, where paired
    difference: float | None = None  # to the baseline, in the metric's own unit
    difference_low: float | None = None  # its 95 % interval
    difference_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    best: bool = False  # the best mean, and better than the baseline with p < 0.05 (the corrected p, where one is)


@dataclass(frozen=True)
class Comparison:
    """The rows, a baseline before those compared with it, and what to know before believing them."""

    metric: str
    lower_is_better: bool
    by: list[str]
    against: str | None
    paired: list[str]  # keys; empty: unpaired
    correct: str  # holm | none
    rows: list[Row]
    notices: list[str]


def compare(
    folders: Sequence[Path],
    by: Sequence[str],
    metric: str,
    against: str | None = None,
    paired: Sequence[str] = (),
    where: Sequence[str] = (),
    correct: str = "holm",
) -> Comparison:
    """Group the finished runs below some folders by choices or config keys, and compare the groups.

    `against` is a value of one key of `by`, or one of each. Without keys in `paired` the groups count as independent.
    """
    if paired and against is None:
        raise ConfigError("--paired: with the runs of which group? Name it with --against")
    runs, notices = selection.finished(folders)
    runs, left_out = selection.measured(selection.filtered(runs, where), metric)
    groups = selection.grouped(runs, by)
    baselines = {} if against is None else selection.baselines(groups, selection.typed(against))
    unlike = fairness.differences(runs, [*by, *paired])
    notices += left_out + unlike + fairness.unequal_seeds(groups, paired or ["seed"]) + fairness.few_runs(groups)

    rows = []
    for group in selection.ordered(groups, baselines):
        row = _row(group, groups[group], metric)
        if group in baselines:
            row = _compared(row, groups, baselines[group], metric, paired)
        rows.append(row)
    if correct == "holm":
        rows = _corrected(rows)
    lower = any(part in LOWER_IS_BETTER for part in metric.replace("/", ".").split("."))
    if not unlike:
        rows = _marked(rows, lower)
    return Comparison(metric, lower, list(by), against, list(paired), correct, rows, notices)


def _row(group: Group, runs: list[Metrics], metric: str) -> Row:
    values = _figures(runs, metric)
    mean = statistics.mean(values)
    return Row(
        group=group,
        runs=[run["run"] for run in runs],
        n=len(runs),
        mean=mean.value,
        sd=statistics.deviation(values),
        low=mean.low,
        high=mean.high,
        cost={name: _mean_cost(runs, name) for name in COSTS},
    )


def _figures(runs: list[Metrics], metric: str) -> list[float]:
    return [value for run in runs if (value := figure(run, metric)) is not None]


def _mean_cost(runs: list[Metrics], name: str) -> float | None:
    costs = [run["cost"][name] for run in runs if run["cost"][name] is not None]
    return sum(costs) / len(costs) if costs else None


def _compared(row: Row, groups: Groups, baseline: Group, metric: str, paired: Sequence[str]) -> Row:
    runs, base_runs, pairs = groups[row.group], groups[baseline], None
    if paired:
        by_pair, base_by_pair = _by_pair(runs, paired), _by_pair(base_runs, paired)
        both = sorted(by_pair.keys() & base_by_pair.keys())
        runs, base_runs, pairs = [by_pair[key] for key in both], [base_by_pair[key] for key in both], len(both)
        if not both:
            return replace(row, baseline=baseline, pairs=0)
    estimate = statistics.paired_difference if paired else statistics.difference
    found = estimate(_figures(runs, metric), _figures(base_runs, metric))
    return replace(
        row,
        baseline=baseline,
        pairs=pairs,
        difference=found.value,
        difference_low=found.low,
        difference_high=found.high,
        p=found.p,
    )


def _by_pair(runs: list[Metrics], keys: Sequence[str]) -> dict[tuple[str, ...], Metrics]:
    found: dict[tuple[str, ...], Metrics] = {}
    for run in runs:
        pair = tuple(text(lookup(run, key)) for key in keys)
        if pair in found:
            other = found[pair]
            same = " ".join(f"{key}={value}" for key, value in zip(keys, pair, strict=True))
            raise ConfigError(
                f"--paired: {other['run']} and {run['run']} are of one group and both have {same}; "
                f"tell them apart with --where or --by{_unlike_key(other, run)}"
            )
        found[pair] = run
    return found


def _unlike_key(one: Metrics, other: Metrics) -> str:
    """Name a key by which two runs of one group differ."""
    choices = [key for key in one["choices"] if lookup(one, key) != lookup(other, key)]
    values = [key for key, value in leaves(one["config"]) if value != lookup(other, key)]
    keys = choices + [key for key in values if key.split(".")[0] not in WITHOUT_EFFECT]
    return f", for example {keys[0]}" if keys else ""


def _corrected(rows: list[Row]) -> list[Row]:
    tested = [row.p for row in rows if row.p is not None]
    adjusted = iter(statistics.holm(tested))
    return [row if row.p is None else replace(row, p_adjusted=next(adjusted)) for row in rows]


def _marked(rows: list[Row], lower_is_better: bool) -> list[Row]:
    """Mark the best of a baseline and the rows compared with it, where chance hardly explains that it is better."""
    best = []
    for _, family in groupby(rows, key=lambda row: row.group if row.baseline is None else row.baseline):
        best.append((min if lower_is_better else max)(family, key=lambda row: row.mean))
    return [replace(row, best=row in best and _significant(row)) for row in rows]


def _significant(row: Row) -> bool:
    p = row.p if row.p_adjusted is None else row.p_adjusted
    return p is not None and p < 1 - statistics.LEVEL
