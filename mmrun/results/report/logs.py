"""What the training logs of run folders hold."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmrun.errors import DamagedError
from mmrun.results.comparability import COST_OF_BUDGET
from mmrun.results.files import explain_mend
from mmrun.results.folder import RunFolder
from mmrun.results.schema import CostName, RunRecord
from mmrun.results.shapes import find_mismatch

MEAN_CURVE_POINTS = 60


class LoggedEvaluation(NamedTuple):
    """An evaluation during training.

    Args:
        spent: by all stages so far, in the unit of the budget.
        logged: the event of log.jsonl: metrics and losses by name, and when they were measured.
    """

    spent: float
    logged: dict[str, Any]


# ------------------------------------------------------------------------------------------------- learning curves


def find_budget_unit(runs: Sequence[RunRecord]) -> CostName:
    """Return the cost in which the budget of some runs is counted.

    Args:
        runs: at least one; the first decides.

    Returns:
        The name of the cost in metrics.json: "epochs", "seconds" or "flops".
    """
    return COST_OF_BUDGET[next(iter(runs[0]["budget"]))]


def read_logged_evaluations(run: RunRecord, unit: CostName) -> list[LoggedEvaluation]:
    """Read the evaluations that a run logged during training, in the order of its log.

    Args:
        run: a finished run.
        unit: of the cost, as `find_budget_unit` returns it.

    Returns:
        The evaluations; none where there is no log. What a stage spent is added to the costs of the stages before it.
    """
    folder = RunFolder(run["folder"])
    if not folder.log_file.exists():
        return []
    folder.verify(folder.log_file)
    spent_before, total = {}, 0.0
    for stage, cost in run["cost"]["stages"].items():
        spent_before[stage] = total
        total += cost[unit]
    evaluations = []
    for event in folder.log.read_events():
        name = event.get("stage")
        if event.get("event") != "evaluated" or not isinstance(name, str) or name not in spent_before:
            continue
        logged = {key: value for key, value in event.items() if key == unit or "/" in key}
        problem = find_mismatch(logged, dict[str, float | None])
        if problem is None and logged.get(unit) is None:
            problem = f"{unit}: is missing"
        if problem is not None:
            raise DamagedError(f"{folder.log_file}: damaged, {problem}; {explain_mend(folder.log_file)}")
        evaluations.append(LoggedEvaluation(spent_before[name] + event[unit], event))
    return evaluations


def extract_curve(evaluations: Iterable[LoggedEvaluation], name: str) -> np.ndarray:
    """Extract the curve of one metric from the evaluations of a run.

    Args:
        evaluations: of one run.
        name: of the metric in the log, for example "val/accuracy".

    Returns:
        [N, 2]: spent so far, value; sorted, each point once. N is 0 where the metric was never logged.
    """
    points = {(spent, logged[name]) for spent, logged in evaluations if logged.get(name) is not None}
    return np.array(sorted(points)).reshape(-1, 2)


def average_curves(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Average curves over the range that all of them cover, with linear interpolation between their points.

    Args:
        curves: at least one, each [N, 2]: spent so far, value.

    Returns:
        [MEAN_CURVE_POINTS, 2].
    """
    start, end = -np.inf, np.inf
    for curve in curves:
        start, end = max(start, curve[0, 0]), min(end, curve[-1, 0])
    grid = np.linspace(start, max(start, end), MEAN_CURVE_POINTS)
    values = [np.interp(grid, *curve.T) for curve in curves]
    return np.stack([grid, np.mean(values, axis=0)], axis=1)
