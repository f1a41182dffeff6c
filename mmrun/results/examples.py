"""Compares the predictions of two runs row by row: McNemar's test, a paired bootstrap, and the rows that flipped."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mmrun.errors import ConfigError, DataError
from mmrun.results import comparability, statistics
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import StoredPredictions, list_tasks, parse_primary_head, read_predictions
from mmrun.results.selection import read_record


@dataclass(frozen=True)
class TaskExamples:
    """Two runs on the rows of one task. The metric of a row is 1 where its class is right, else see `figure`.

    Attributes:
        task: its name.
        figure: the metric of a row: accuracy | label_accuracy (share of its labels that are right) | absolute_error.
        rows: number of rows.
        one: mean of the first run.
        other: mean of the second run.
        difference: first less second.
        low: lower end of its 95 % interval from resampled rows, in pairs; None where no row differs.
        high: its upper end.
        test: mcnemar | wilcoxon.
        p: p-value of the test.
        only_one: ids of the rows that the first run predicts better.
        only_other: ids of the rows that the second run predicts better.
    """

    task: str
    figure: str
    rows: int
    one: float
    other: float
    difference: float
    low: float | None
    high: float | None
    test: str
    p: float
    only_one: list[str]
    only_other: list[str]


@dataclass(frozen=True)
class Examples:
    """Two runs on the same rows.

    Attributes:
        one: name of the first run.
        other: name of the second run.
        split: that the rows belong to.
        tasks: one for each task.
        notices: what to know before trusting the result.
    """

    one: str
    other: str
    split: str
    tasks: list[TaskExamples]
    notices: list[str]


def examine(first: RunFolder, second: RunFolder, split: str) -> Examples:
    """Compare two finished runs by what they predicted for each row of a split.

    Args:
        first: run A of the tables.
        second: run B.
        split: val or test.

    Raises:
        ConfigError: a run is not finished, or they have no row in common.
        DataError: the first run stored no predictions, or the targets differ.
    """
    for run in (first, second):
        if not run.finished:
            raise ConfigError(f"{run.path}: this run is not finished; mmrun resume {run.path}")
    metrics, other_metrics = read_record(first), read_record(second)
    notices = list(comparability.find_differences([metrics, other_metrics], []).values())
    tasks = []
    for task in list_tasks(first, split):
        predictions = read_predictions(first, split, task, parse_primary_head(metrics))
        other_predictions = read_predictions(second, split, task, parse_primary_head(other_metrics))
        predictions, other_predictions, left_out = _align(task, predictions, other_predictions)
        notices += left_out
        tasks.append(compare_task(task, predictions, other_predictions))
    return Examples(first.name, second.name, split, tasks, notices)


def _align(
    task: str, predictions: StoredPredictions, other_predictions: StoredPredictions
) -> tuple[StoredPredictions, StoredPredictions, list[str]]:
    """Return the predictions for the rows that both runs have, in the same order, and a notice about the others."""
    other_places = {id: place for place, id in enumerate(other_predictions.ids)}
    places = [place for place, id in enumerate(predictions.ids) if id in other_places]
    if not places:
        raise ConfigError(
            f"--examples: the two runs have no row of {task} in common; compare runs of one data set and split"
        )
    first = _take(predictions, places)
    second = _take(other_predictions, [other_places[id] for id in first.ids])
    if not np.array_equal(first.target, second.target, equal_nan=first.target.dtype.kind == "f"):
        raise DataError(
            f"--examples: the two runs have different targets for the same rows of {task}; compare runs on one data set"
        )
    left_out = len(predictions.ids) + len(other_predictions.ids) - 2 * len(places)
    return first, second, [f"{left_out} rows of {task} are in one run only and left out"] if left_out else []


def _take(predictions: StoredPredictions, places: Sequence[int]) -> StoredPredictions:
    """Select rows by their places."""
    ids = [predictions.ids[place] for place in places]
    return StoredPredictions(ids, predictions.scores[places], predictions.target[places])


# ----------------------------------------------------------------------------------------------------------- tests


def compare_task(task: str, predictions: StoredPredictions, other_predictions: StoredPredictions) -> TaskExamples:
    """Compare two runs on the rows of one task.

    Args:
        task: its name.
        predictions: of the first run.
        other_predictions: of the second run, for the same rows in the same order.

    Raises:
        ConfigError: no target is visible.
    """
    name, values = _metric_by_row(predictions)
    _, other_values = _metric_by_row(other_predictions)
    visible = ~np.isnan(values)
    ids = np.array(predictions.ids)[visible]
    values, other_values = values[visible], other_values[visible]
    if not len(ids):
        raise ConfigError(f"--examples: the target of {task} is hidden in every row")
    differences = values - other_values
    gains = differences * (-1 if name == "absolute_error" else 1)
    low, high = None, None
    if gains.any():
        low, high = statistics.bootstrap_interval((differences,), np.mean, "percentile")
    if name == "accuracy":
        test, p = "mcnemar", mcnemar(int((gains > 0).sum()), int((gains < 0).sum()))
    else:
        test, p = "wilcoxon", float(stats.wilcoxon(gains).pvalue) if gains.any() else 1.0
    return TaskExamples(
        task=task,
        figure=name,
        rows=len(ids),
        one=float(values.mean()),
        other=float(other_values.mean()),
        difference=float(np.mean(differences)),
        low=low,
        high=high,
        test=test,
        p=p,
        only_one=ids[gains > 0].tolist(),
        only_other=ids[gains < 0].tolist(),
    )


def mcnemar(only_one: int, only_other: int) -> float:
    """Return the p-value of the exact test whether two runs are right equally often (McNemar, 1947).

    Args:
        only_one: number of rows that only the first run got right.
        only_other: number of rows that only the second run got right.
    """
    flipped = only_one + only_other
    return float(stats.binomtest(only_one, flipped).pvalue) if flipped else 1.0


def _metric_by_row(predictions: StoredPredictions) -> tuple[str, np.ndarray]:
    """Return the name of the metric of a row, and its values [N]; NaN where the target is hidden."""
    target, scores = predictions.target, predictions.scores
    if target.dtype.kind == "i":
        correct = (scores.argmax(1) == target).astype(float)
        return "accuracy", np.where(target < 0, np.nan, correct)  # types.IGNORE_INDEX, without loading torch
    target = target.reshape(scores.shape)
    hidden = np.isnan(target)
    if np.isin(target[~hidden], (0, 1)).all() and scores.min() >= 0 and scores.max() <= 1:
        name, by_output = "label_accuracy", ((scores >= 0.5) == (target > 0.5)).astype(float)
    else:
        name, by_output = "absolute_error", np.abs(scores - target)
    num_visible = np.maximum((~hidden).sum(1), 1)
    return name, np.where(hidden.all(1), np.nan, np.where(hidden, 0, by_output).sum(1) / num_visible)
