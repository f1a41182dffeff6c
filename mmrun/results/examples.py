"""Compares the predictions of two runs row by row, or by groups of rows, and names the rows that flipped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from mmrun.data.names import normalize_name
from mmrun.errors import ConfigError, DataError
from mmrun.results import comparability, statistics
from mmrun.results.environment import find_differing_environments
from mmrun.results.folder import RunFolder
from mmrun.results.formatting import pluralize
from mmrun.results.predictions import StoredPredictions, list_tasks, parse_primary_head, read_predictions
from mmrun.results.schema import RunMetrics
from mmrun.results.selection import read_record

NUMBER_METRICS = ("r2", "rmse", "mae", "mse")  # of runs that predict numbers


@dataclass(frozen=True)
class TaskExamples:
    """Two runs on the rows of one task. The metric of a row is 1 where its class is right, else see `metric`.

    Attributes:
        task: its name.
        metric: the metric of a row: accuracy | label_accuracy (share of its labels that are right) | absolute_error.
        rows: number of rows.
        groups: number of groups that the rows belong to; None where each row counts alone.
        mean_a: of the first run.
        mean_b: of the second run.
        difference: first less second.
        low: lower end of its 95 % interval, over groups or rows; None where no row differs.
        high: its upper end.
        test: mcnemar | wilcoxon, or permutation of groups.
        p: p-value of the test.
        better_a: ids of the rows that the first run predicts better.
        better_b: ids of the rows that the second run predicts better.
    """

    task: str
    metric: str
    rows: int
    groups: int | None
    mean_a: float
    mean_b: float
    difference: float
    low: float | None
    high: float | None
    test: str
    p: float
    better_a: list[str]
    better_b: list[str]


@dataclass(frozen=True)
class Examples:
    """Two runs on the same rows.

    Attributes:
        run_a: name of the first run.
        run_b: name of the second run.
        split: that the rows belong to.
        column: whose values group the rows; None where each row counts alone.
        tasks: one for each task.
        notices: what to know before trusting the result.
    """

    run_a: str
    run_b: str
    split: str
    column: str | None
    tasks: list[TaskExamples]
    notices: list[str]


class RowGroups(NamedTuple):
    """The rows that belong together, as all of one patient do.

    Attributes:
        column: whose values group the rows.
        by_id: the value in each row, by its id; rows with an empty value are groups of their own.
    """

    column: str
    by_id: Mapping[str, str]


def examine(first: RunFolder, second: RunFolder, split: str, groups: RowGroups | None = None) -> Examples:
    """Compare two finished runs by what they predicted for each row of a split.

    Args:
        first: run A of the tables.
        second: run B.
        split: val or test.
        groups: of rows that belong together; None: each row counts alone.

    Raises:
        ConfigError: a run is not finished, or they have no row in common.
        DataError: the first run stored no predictions, the targets differ, or a row has no group.
    """
    for run in (first, second):
        if not run.finished:
            raise ConfigError(f"{run.path}: this run is not finished; mmrun resume {run.path}")
    metrics, other_metrics = read_record(first), read_record(second)
    notices = list(comparability.find_differences([metrics, other_metrics], []).values())
    notices += find_differing_environments([metrics, other_metrics])
    tasks = []
    for task in list_tasks(first, split):
        predictions = read_predictions(first, split, task, parse_primary_head(metrics))
        other_predictions = read_predictions(second, split, task, parse_primary_head(other_metrics))
        predictions, other_predictions, left_out = _align(task, predictions, other_predictions)
        metric = _choose_metric(predictions, other_predictions, _predicts_numbers(metrics, split, task))
        notices += left_out
        for name, scores in (("A", predictions.scores), ("B", other_predictions.scores)):
            notices += _check_scores(task, name, scores, metric)
        tasks.append(compare_task(task, metric, predictions, other_predictions, groups))
        notices += _check_group_count(tasks[-1])
    return Examples(first.name, second.name, split, None if groups is None else groups.column, tasks, notices)


def _predicts_numbers(metrics: RunMetrics, split: str, task: str) -> bool:
    """Return whether a task's metrics are those of numbers."""
    for name in metrics["metrics"].get(split, {}):
        head_name, _, metric = name.partition("/")[0].rpartition(".")
        if head_name in ("", task) and metric in NUMBER_METRICS:
            return True
    return False


def _check_scores(task: str, run: str, scores: np.ndarray, metric: str) -> list[str]:
    """Return a notice where a run predicted something that is not a number."""
    undefined = int((~np.isfinite(scores)).any(1).sum())
    if not undefined:
        return []
    consequence = "are left out" if metric == "absolute_error" else "count as wrong"
    return [f"{pluralize(undefined, 'prediction')} of {task} by {run} are not finite numbers and {consequence}"]


def _check_group_count(examples: TaskExamples) -> list[str]:
    """Return a notice where there are too few groups for their permutations to reach p < 0.05."""
    if examples.groups is None or 2 / 2**examples.groups < 0.05:
        return []
    return [f"with {examples.groups} groups p of the permutation test cannot be below {2 / 2**examples.groups:.4g}"]


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


def compare_task(
    task: str,
    metric: str,
    predictions: StoredPredictions,
    other_predictions: StoredPredictions,
    groups: RowGroups | None = None,
) -> TaskExamples:
    """Compare two runs on the rows of one task.

    Args:
        task: its name.
        metric: the metric of a row.
        predictions: of the first run.
        other_predictions: of the second run, for the same rows in the same order.
        groups: of rows that belong together.

    Raises:
        ConfigError: no target is visible, or all rows are of one group.
        DataError: a row has no group.
    """
    values, other_values = _measure_rows(metric, predictions), _measure_rows(metric, other_predictions)
    visible = ~(np.isnan(values) | np.isnan(other_values))
    ids = np.array(predictions.ids)[visible]
    values, other_values = values[visible], other_values[visible]
    if not len(ids):
        raise ConfigError(f"--examples: the target of {task} is hidden in every row")
    differences = values - other_values
    gains = differences * (-1 if metric == "absolute_error" else 1)
    units = np.arange(len(ids)) if groups is None else _number_groups(groups, ids.tolist())
    sums, sizes = np.bincount(units, differences), np.bincount(units)
    low, high = _mean_interval(sums, sizes, bounded=metric != "absolute_error") if gains.any() else (None, None)
    test, p = _test_rows(metric, gains) if groups is None else ("permutation", _test_groups(sums))
    return TaskExamples(
        task=task,
        metric=metric,
        rows=len(ids),
        groups=None if groups is None else len(sizes),
        mean_a=float(values.mean()),
        mean_b=float(other_values.mean()),
        difference=float(np.mean(differences)),
        low=low,
        high=high,
        test=test,
        p=p,
        better_a=ids[gains > 0].tolist(),
        better_b=ids[gains < 0].tolist(),
    )


def _number_groups(groups: RowGroups, ids: Sequence[str]) -> np.ndarray:
    """Return the number of each row's group [N]."""
    names = []
    for id in ids:
        if id not in groups.by_id:
            raise DataError(f"--groups {groups.column}: no row '{id}' in the data file; it has changed since the run")
        name = normalize_name(groups.by_id[id])
        names.append((name, "") if name else ("", id))
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if len(numbers) < 2:
        raise ConfigError(f"--groups {groups.column}: all rows have one value; a test needs several groups")
    return np.array([numbers[name] for name in names])


def _mean_interval(sums: np.ndarray, sizes: np.ndarray, bounded: bool) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a mean over rows whose groups are independent: Student's t of a ratio.

    Args:
        sums: of the values, by group [G].
        sizes: number of rows, by group [G].
        bounded: whether a difference cannot be larger than 1.
    """
    G, N = len(sums), sizes.sum()
    if G < 2:
        return None, None
    mean = sums.sum() / N
    error = np.sqrt(G / (G - 1) * np.sum((sums - mean * sizes) ** 2)) / N
    reach = stats.t.isf((1 - statistics.LEVEL) / 2, G - 1) * error
    if bounded:
        return float(max(mean - reach, -1)), float(min(mean + reach, 1))
    return float(mean - reach), float(mean + reach)


def _test_rows(metric: str, gains: np.ndarray) -> tuple[str, float]:
    """Return name and p-value of the test over rows that are independent of each other."""
    if metric == "accuracy":
        return "mcnemar", mcnemar(int((gains > 0).sum()), int((gains < 0).sum()))
    return "wilcoxon", float(stats.wilcoxon(gains).pvalue) if gains.any() else 1.0


def _test_groups(sums: np.ndarray) -> float:
    """Return the p-value of flipping the signs of the groups' sums in every way, or in many."""
    if not sums.any():
        return 1.0
    return float(statistics.PAIRED_TESTS["permutation"](sums.round(9)).pvalue)


def mcnemar(better_a: int, better_b: int) -> float:
    """Return the p-value of the exact test whether two runs are right equally often (McNemar, 1947).

    Args:
        better_a: number of rows that only the first run got right.
        better_b: number of rows that only the second run got right.
    """
    flipped = better_a + better_b
    return float(stats.binomtest(better_a, flipped).pvalue) if flipped else 1.0


def _choose_metric(first: StoredPredictions, second: StoredPredictions, predicts_numbers: bool) -> str:
    """Choose the metric of a row, one for both runs."""
    if first.target.dtype.kind == "i":
        return "accuracy"
    visible = first.target[~np.isnan(first.target)]
    scores = np.concatenate([first.scores.ravel(), second.scores.ravel()])
    scores = scores[np.isfinite(scores)]
    are_shares = np.isin(visible, (0, 1)).all() and ((scores >= 0) & (scores <= 1)).all()
    return "label_accuracy" if are_shares and not predicts_numbers else "absolute_error"


def _measure_rows(metric: str, predictions: StoredPredictions) -> np.ndarray:
    """Return the metric of each row [N]; NaN where the target is hidden, or an error is not defined."""
    target, scores = predictions.target, predictions.scores
    defined = np.isfinite(scores)
    if metric == "accuracy":
        correct = (scores.argmax(1) == target) & defined.all(1)
        return np.where(target < 0, np.nan, correct.astype(float))  # types.IGNORE_INDEX, without loading torch
    target = target.reshape(scores.shape)
    hidden = np.isnan(target)
    if metric == "label_accuracy":
        by_output = (((scores >= 0.5) == (target > 0.5)) & defined).astype(float)
    else:
        by_output = np.abs(np.where(defined, scores, np.nan) - target)
    num_visible = np.maximum((~hidden).sum(1), 1)
    return np.where(hidden.all(1), np.nan, np.where(hidden, 0, by_output).sum(1) / num_visible)
