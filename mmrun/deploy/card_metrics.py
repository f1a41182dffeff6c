"""How sure the test metrics of one run are: intervals over its test rows."""

import numpy as np
from sklearn import config_context

from mmrun.compose import restore
from mmrun.head import FUSED, metric_name
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import list_tasks, parse_primary_head, read_predictions
from mmrun.run.fitted import restore_fitted
from mmrun.types import IGNORE_INDEX, Task

Intervals = dict[str, tuple[float, float]]  # by metric: the lowest and highest value

RESAMPLES = 200
MAX_OUTPUTS = 20
MAX_ROWS = 20_000  # of a test set; a larger one is sampled, and its intervals are a little too wide


def compute_intervals(folder: RunFolder) -> Intervals:
    """Return the 95 % bootstrap interval of each test metric; it is the same on every call.

    Rows are resampled with replacement (Efron, 1979), and the interval is that of the percentiles.

    Returns:
        By name in metrics.json; nothing where the run stored no predictions of test rows.
    """
    metrics = folder.read_metrics()
    if metrics["primary_head"] is None or not (folder.predictions / "test.parquet").exists():
        return {}
    tasks = restore_fitted(restore(folder.read_config()), folder.read_fitted()).tasks
    head = parse_primary_head(metrics)
    intervals: Intervals = {}
    for name in list_tasks(folder, "test"):
        predictions = read_predictions(folder, "test", name, head)
        for metric, interval in bootstrap_metrics(tasks[name], predictions.scores, predictions.target).items():
            intervals[metric_name(metric, name, FUSED, len(tasks))] = interval
    return intervals


def bootstrap_metrics(task: Task, scores: np.ndarray, target: np.ndarray) -> Intervals:
    """Return the 95 % interval of each metric of a task.

    Args:
        task: computes the metrics.
        scores: [N, C].
        target: [N] or [N, C].

    Returns:
        By metric. One that a resample lacks, as where a class is missing in it, is left out. Nothing for less than two
        rows, and the accuracy alone for more than MAX_OUTPUTS classes, whose ranking metrics would take minutes.
    """
    if len(target) < 2:
        return {}
    generator = np.random.default_rng(0)
    if len(target) > MAX_ROWS:
        rows = generator.choice(len(target), MAX_ROWS, replace=False)
        scores, target = scores[rows], target[rows]
    compute = task.metrics if scores.shape[1] <= MAX_OUTPUTS else _compute_accuracy
    values: dict[str, list[float]] = {}
    with config_context(assume_finite=True, skip_parameter_validation=True):  # each call would take twice as long
        for _ in range(RESAMPLES):
            rows = generator.integers(len(target), size=len(target))
            for metric, value in compute(scores[rows], target[rows]).items():
                values.setdefault(metric, []).append(value)
    intervals: Intervals = {}
    for metric, resampled in values.items():
        if len(resampled) == RESAMPLES and np.isfinite(resampled).all():
            low, high = np.percentile(resampled, [2.5, 97.5])
            intervals[metric] = (float(low), float(high))
    return intervals


def _compute_accuracy(scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Return the accuracy of classes; labels and numbers have none."""
    visible = target != IGNORE_INDEX
    if target.ndim > 1 or not visible.any():
        return {}
    return {"accuracy": float((scores.argmax(1) == target)[visible].mean())}
