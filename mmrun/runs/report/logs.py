"""What run folders hold besides metrics.json: learning curves, stored predictions, evaluations, environments."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mmrun.runs.examples import stored, tasks_of
from mmrun.runs.fairness import SPENT_IN
from mmrun.runs.files import read_json
from mmrun.runs.folder import RunFolder
from mmrun.runs.selection import Metrics

BINS = 15  # of confidence
GRID = 60  # points of a mean curve


# ------------------------------------------------------------------------------------------------- learning curves


def spent_in(runs: Sequence[Metrics]) -> str:
    """Give the cost that the budget of some runs is counted in."""
    return SPENT_IN[next(iter(runs[0]["budget"]))]


def learning_curve(run: Metrics, figure: str, unit: str) -> np.ndarray:  # [N, 2]: spent so far by all stages, figure
    """Read a figure of the validation rows as it was logged; the curve of a stage begins where the last one ended."""
    folder = RunFolder(run["folder"])
    if not folder.log_file.exists():
        return np.empty((0, 2))
    before, start = {}, 0.0
    for stage, cost in run["cost"]["stages"].items():
        before[stage], start = start, start + cost[unit]
    points = [
        (before[event["stage"]] + event[unit], event[figure])
        for event in folder.events()
        if event["event"] == "evaluated" and event.get(figure) is not None and event["stage"] in before
    ]
    return np.array(sorted(set(points))).reshape(-1, 2)


def mean_curve(curves: Sequence[np.ndarray]) -> np.ndarray:  # [GRID, 2]
    """Average curves over the range that all of them cover, straight lines between their points."""
    low, high = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    grid = np.linspace(low, max(low, high), GRID)
    return np.stack([grid, np.mean([np.interp(grid, *curve.T) for curve in curves], axis=0)], axis=1)


# ----------------------------------------------------------------------------------------------- stored predictions


class Classified:
    """The predictions of a group's runs for one task, added up."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.confusion = np.zeros((len(names), len(names)), int)  # [true, predicted]
        self.count = np.zeros(BINS)
        self.confidence = np.zeros(BINS)  # sums
        self.right = np.zeros(BINS)

    def add(self, scores: np.ndarray, target: np.ndarray) -> None:  # [N, C], [N]
        """Count the rows of one run whose class is known."""
        scores, target = scores[target >= 0], target[target >= 0]
        predicted, confidence = scores.argmax(1), scores.max(1)
        np.add.at(self.confusion, (target, predicted), 1)
        bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
        for total, values in ((self.count, None), (self.confidence, confidence), (self.right, predicted == target)):
            total += np.bincount(bins, None if values is None else values.astype(float), BINS)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error (Guo et al., 2017), all rows taken together."""
        return float(np.abs(self.right - self.confidence).sum() / self.count.sum())


def classified(runs: Iterable[Metrics], split: str) -> dict[str, Classified]:
    """Read what a group's runs predicted, by task; tasks that have no classes are left out."""
    found: dict[str, Classified] = {}
    for run in runs:
        folder = RunFolder(run["folder"])
        if not (folder.predictions / f"{split}.parquet").exists():
            continue
        for task in tasks_of(folder, split):
            answers = stored(folder, run, split, task)
            if answers.target.dtype.kind == "i" and answers.target.ndim == 1:
                names = list(run["per_class"][split][task])
                found.setdefault(task, Classified(names)).add(answers.scores, answers.target)
    return found


# ------------------------------------------------------------------------------------------------------ evaluations


def evaluations(runs: Iterable[Metrics], split: str, name: str) -> list[dict[str, Any]]:
    """Read what `mmrun eval` kept in the folders of some runs about a figure of a split."""
    files = [run["folder"] / "evaluation.json" for run in runs]
    found = [read_json(file) for file in files if file.exists()]
    return [one for one in found if one["split"] == split and name in one["headlines"]]


def worth(found: Sequence[Mapping[str, Any]], name: str) -> dict[str, list[float]]:
    """Give the Shapley value of each modality, one a run."""
    values = [one["shapley"][name]["absent"] for one in found]
    return {modality: [one[modality] for one in values] for modality in values[0]}


def missing(
    found: Sequence[Mapping[str, Any]], name: str
) -> tuple[list[str], list[str], np.ndarray]:  # [subsets, fills]
    """Give the mean figure of each subset of the modalities, under each way to fill what is missing."""
    having = [one["missing"] for one in found]
    fills = list(having[0])
    subsets = [" + ".join(each["present"]) for each in having[0][fills[0]]]
    values = [[[each["metrics"][name] for each in one[fill]] for fill in fills] for one in having]
    return subsets, fills, np.mean(values, axis=0).T


# ----------------------------------------------------------------------------------------------------- environments


def environments(runs: Iterable[Metrics]) -> dict[str, Counter[str]]:
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
