"""What `mmrun eval` measured on the runs of a report, by group of runs: the parts of evaluation.json that are shown."""

from collections.abc import Iterable, Mapping, Sequence

from mmrun.results.evaluation_schema import Evaluation
from mmrun.results.evaluations import read_evaluation
from mmrun.results.report.groups import drop_empty, map_groups
from mmrun.results.run_values import Group
from mmrun.results.schema import RunRecord

Evaluations = dict[Group, list[Evaluation]]


def read_evaluations(groups: Mapping[Group, Iterable[RunRecord]], metric: str) -> tuple[str, Evaluations]:
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
    for group, group_evaluations in by_group.items():
        if all(name in evaluation["primary_metrics"] for evaluation in group_evaluations):
            measured[group] = group_evaluations
    return name, measured


def _read_group(runs: Iterable[RunRecord], split: str) -> list[Evaluation]:
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
