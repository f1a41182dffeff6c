"""Two runs, row by row, from what they predicted: McNemar's test, a paired bootstrap, and the rows that flipped."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from mmrun.errors import ConfigError, DataError
from mmrun.results import comparability, statistics
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import StoredPredictions, primary_head, stored, tasks_of
from mmrun.results.selection import Metrics


@dataclass(frozen=True)
class TaskExamples:
    """Two runs on the rows of one task. A row's figure is 1 where its class is right, else what `figure` says."""

    task: str
    figure: str  # accuracy | label_accuracy | absolute_error
    rows: int
    one: float  # mean figure
    other: float
    difference: float  # one less other
    low: float | None  # 95 % interval, rows drawn again in pairs; None where no row differs
    high: float | None
    test: str  # mcnemar | wilcoxon
    p: float
    only_one: list[str]  # ids of the rows that one run got better, and the other worse
    only_other: list[str]


@dataclass(frozen=True)
class Examples:
    """Two runs on the same rows."""

    one: str
    other: str
    split: str
    tasks: list[TaskExamples]
    notices: list[str]


def examine(one: RunFolder, other: RunFolder, split: str) -> Examples:
    """Compare two finished runs by what they predicted for each row of a split."""
    measured: list[Metrics] = []
    for run in (one, other):
        if not run.finished:
            raise ConfigError(f"{run.path}: this run is not finished; mmrun resume {run.path}")
        measured.append(run.metrics())
    notices = list(comparability.differences(measured, []).values())
    tasks = []
    for task in tasks_of(one, split):
        answers = [stored(run, split, task, primary_head(m)) for run, m in zip((one, other), measured, strict=True)]
        first, second, said = _aligned(task, *answers)
        notices += said
        tasks.append(compared(task, first, second))
    return Examples(one.name, other.name, split, tasks, notices)


def _aligned(
    task: str, one: StoredPredictions, other: StoredPredictions
) -> tuple[StoredPredictions, StoredPredictions, list[str]]:
    """Bring the rows that both runs answered into one order."""
    places = {id: place for place, id in enumerate(other.ids)}
    both = [place for place, id in enumerate(one.ids) if id in places]
    if not both:
        raise ConfigError(
            f"--examples: the two runs have no row of {task} in common; compare runs of one data set and split"
        )
    first, second = _taken(one, both), _taken(other, [places[one.ids[place]] for place in both])
    if not np.array_equal(first.target, second.target, equal_nan=first.target.dtype.kind == "f"):
        raise DataError(f"--examples: the two runs have other targets for the same rows of {task}; they saw other data")
    left = len(one.ids) + len(other.ids) - 2 * len(both)
    return first, second, [f"{left} rows of {task} are in one run only and left out"] if left else []


def _taken(answers: StoredPredictions, places: list[int]) -> StoredPredictions:
    return StoredPredictions([answers.ids[place] for place in places], answers.scores[places], answers.target[places])


# ----------------------------------------------------------------------------------------------------------- tests


def compared(task: str, one: StoredPredictions, other: StoredPredictions) -> TaskExamples:
    """Compare two runs on the same rows in the same order."""
    name, figures = _figures(one)
    _, other_figures = _figures(other)
    known = ~np.isnan(figures)  # the target is not hidden
    ids = np.array(one.ids)[known]
    figures, other_figures = figures[known], other_figures[known]
    if not len(ids):
        raise ConfigError(f"--examples: the target of {task} is hidden in every row")
    gains = (figures - other_figures) * (-1 if name == "absolute_error" else 1)
    low, high = statistics.bootstrap((figures - other_figures,), np.mean, "percentile") if gains.any() else (None, None)
    if name == "accuracy":
        test, p = "mcnemar", mcnemar(int((gains > 0).sum()), int((gains < 0).sum()))
    else:
        test, p = "wilcoxon", float(stats.wilcoxon(gains).pvalue) if gains.any() else 1.0
    return TaskExamples(
        task=task,
        figure=name,
        rows=len(ids),
        one=float(figures.mean()),
        other=float(other_figures.mean()),
        difference=float(np.mean(figures - other_figures)),
        low=low,
        high=high,
        test=test,
        p=p,
        only_one=ids[gains > 0].tolist(),
        only_other=ids[gains < 0].tolist(),
    )


def mcnemar(only_one: int, only_other: int) -> float:
    """Test whether two runs are right equally often, by the rows that one alone got right: exact (McNemar, 1947)."""
    flipped = only_one + only_other
    return float(stats.binomtest(only_one, flipped).pvalue) if flipped else 1.0


def _figures(answers: StoredPredictions) -> tuple[str, np.ndarray]:  # [N], NaN where the target is hidden
    target, scores = answers.target, answers.scores
    if target.dtype.kind == "i":
        right = (scores.argmax(1) == target).astype(float)
        return "accuracy", np.where(target < 0, np.nan, right)  # types.HIDDEN_CLASS, without its torch
    target = target.reshape(scores.shape)
    hidden = np.isnan(target)
    if np.isin(target[~hidden], (0, 1)).all() and scores.min() >= 0 and scores.max() <= 1:
        name, each = "label_accuracy", ((scores >= 0.5) == (target > 0.5)).astype(float)
    else:
        name, each = "absolute_error", np.abs(scores - target)
    counted = np.maximum((~hidden).sum(1), 1)
    return name, np.where(hidden.all(1), np.nan, np.where(hidden, 0, each).sum(1) / counted)
