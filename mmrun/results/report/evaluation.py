"""What `mmrun eval` measured on the runs of a report, by group of runs: the parts of evaluation.json that are shown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NotRequired, TypedDict, cast

from mmrun.results import evaluations
from mmrun.results.report.groups import drop_empty, map_groups
from mmrun.results.selection import Group, Metrics


class SubsetMetrics(TypedDict):
    """Metrics with a subset of the modalities present."""

    present: list[str]
    metrics: dict[str, float]


class Synergy(TypedDict):
    """What each modality reaches alone, and the source of these values: a run's name, or OWN_CEILINGS."""

    alone: dict[str, float]  # by modality
    ceilings: str


class NoiseCurve(TypedDict):
    """A metric by severity of one corruption."""

    fused: list[float]


class NoiseRobustness(TypedDict):
    """Robustness to noise in one modality: relative (Liang et al., 2021) and effective (Taori et al., 2020)."""

    relative: float
    effective: float
    curves: dict[str, NoiseCurve]  # by corruption


class Robustness(TypedDict):
    """Robustness to noise, by primary metric and modality."""

    severities: list[float]  # from 0, untouched, to 1, nothing left
    metrics: dict[str, dict[str, NoiseRobustness]]


class ProbeAccuracy(TypedDict):
    """Accuracy of a linear probe on an encoder's features, after `after_stage` and at the end of training."""

    before: float
    after: float


class EncoderDrift(TypedDict):
    """How much one encoder changed after the stage that first trained it."""

    after_stage: str
    cka: float  # linear CKA of the features (Kornblith et al., 2019)
    probe: dict[str, ProbeAccuracy]  # by task


class Subgroups(TypedDict):
    """Metrics by the values of a column."""

    column: str
    primary_metric: str
    groups: dict[str, dict[str, float | None]]  # by value of the column, then by metric; "rows" is their number


class Evaluation(TypedDict):
    """One run's evaluation on one split."""

    saw_missing: bool  # some training rows lacked a modality
    primary_metrics: list[str]
    metrics: dict[str, float]
    missing: dict[str, list[SubsetMetrics]]  # by the way a missing modality is filled
    shapley: dict[str, dict[str, dict[str, float]]]  # by metric, fill and modality
    synergy: dict[str, Synergy]  # by metric
    robustness: NotRequired[Robustness]
    drift: NotRequired[dict[str, EncoderDrift]]  # by modality
    groups: NotRequired[dict[str, Subgroups]]  # by task


Evaluations = dict[Group, list[Evaluation]]


def read_evaluation(run: Metrics, split: str) -> Evaluation | None:
    """Read the evaluation of a run.

    Args:
        run: a finished run.
        split: that was evaluated.

    Returns:
        The evaluation; None where the run was not evaluated on this split, or by another version of the metrics.
    """
    return cast(Evaluation | None, evaluations.read(run, split))


def read_evaluations(groups: Mapping[Group, Iterable[Metrics]], metric: str) -> tuple[str, Evaluations]:
    """Read the evaluations of all groups, and choose the metric that they are shown by.

    Evaluations hold the primary metric of each task alone. Where another metric of a task is asked for, the task's
    primary metric stands in.

    Args:
        groups: runs by group.
        metric: split and name, "test/accuracy".

    Returns:
        The name of the metric without its split, and the evaluations of the groups that have it.
    """
    split, _, name = metric.partition("/")
    by_group = drop_empty(map_groups(lambda runs: _read_group(runs, split), groups))
    if not by_group:
        return name, {}
    first_run = next(iter(by_group.values()))[0]
    name = _choose_metric(first_run["primary_metrics"], name)
    measured: Evaluations = {}
    for group, of_group in by_group.items():
        if all(name in evaluation["primary_metrics"] for evaluation in of_group):
            measured[group] = of_group
    return name, measured


def _read_group(runs: Iterable[Metrics], split: str) -> list[Evaluation]:
    evaluated = []
    for run in runs:
        evaluation = read_evaluation(run, split)
        if evaluation is not None:
            evaluated.append(evaluation)
    return evaluated


def _choose_metric(primary_metrics: Sequence[str], name: str) -> str:
    """Return the metric where it is a primary one, else the primary metric of its task, else the first one."""
    if name in primary_metrics:
        return name
    task = name.rpartition(".")[0]
    for primary_metric in primary_metrics:
        if primary_metric.startswith(f"{task}."):
            return primary_metric
    return primary_metrics[0]
