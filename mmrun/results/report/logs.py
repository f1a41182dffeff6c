"""What run folders hold besides metrics.json, predictions and evaluations: what was logged, and where."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mmrun.results.comparability import COST_OF_BUDGET
from mmrun.results.files import read_json
from mmrun.results.folder import RunFolder
from mmrun.results.schema import CostName, RunRecord

GRID = 60  # points of a mean curve

Events = list[tuple[float, dict[str, Any]]]  # spent so far by all stages, what was logged then


# ------------------------------------------------------------------------------------------------- learning curves


def spent_in(runs: Sequence[RunRecord]) -> CostName:
    """Return the cost that the budget of some runs is counted in."""
    return COST_OF_BUDGET[next(iter(runs[0]["budget"]))]


def evaluated(run: RunRecord, unit: CostName) -> Events:
    """Read what was logged at each evaluation; a stage begins to spend where the last one ended."""
    folder = RunFolder(run["folder"])
    if not folder.log_file.exists():
        return []
    before, start = {}, 0.0
    for stage, cost in run["cost"]["stages"].items():
        before[stage], start = start, start + cost[unit]
    return [
        (before[event["stage"]] + event[unit], event)
        for event in folder.log.read_events()
        if event["event"] == "evaluated" and event["stage"] in before
    ]


def curve(events: Events, figure: str) -> np.ndarray:  # [N, 2]: spent so far, figure
    """Take a figure out of what was logged, where it is there."""
    points = {(spent, event[figure]) for spent, event in events if event.get(figure) is not None}
    return np.array(sorted(points)).reshape(-1, 2)


def mean_curve(curves: Sequence[np.ndarray]) -> np.ndarray:  # [GRID, 2]
    """Average curves over the range that all of them cover, straight lines between their points."""
    low, high = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    grid = np.linspace(low, max(low, high), GRID)
    return np.stack([grid, np.mean([np.interp(grid, *curve.T) for curve in curves], axis=0)], axis=1)


# ----------------------------------------------------------------------------------------------------- environments


def environments(runs: Iterable[RunRecord]) -> dict[str, Counter[str]]:
    """Count, for each fact about machine and code, in how many runs it was what."""
    found: dict[str, Counter[str]] = {}
    for run in runs:
        file = RunFolder(run["folder"]).environment_file
        if not file.exists():
            continue
        said = read_json(file)
        versions = {name: version for name, version in said.pop("versions", {}).items() if version is not None}
        git = said.pop("git", None)
        code = {} if git is None else {"commit": git["commit"][:12] + (" and changes" if git["changed"] else "")}
        for name, value in (said | code | versions).items():
            found.setdefault(name, Counter())[str(value)] += 1
    return found
