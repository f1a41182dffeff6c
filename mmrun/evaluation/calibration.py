"""How far probabilities can be believed, and which classes are taken for which: from stored predictions."""

from typing import Any

import numpy as np

from mmrun.tasks.classification import Classification
from mmrun.tasks.metrics import BINS
from mmrun.tasks.multilabel import Multilabel
from mmrun.types import HIDDEN_CLASS, Task

MOST_CLASSES = 50  # that a matrix or a set of curves is drawn for: those with the most rows
MOST_POINTS = 101  # of a curve


def classes(task: Task, scores: np.ndarray, target: np.ndarray) -> dict[str, Any] | None:
    """Give all that concerns probabilities and classes; None for a task that has neither."""
    if isinstance(task, Classification):
        visible = target != HIDDEN_CLASS
        scores, target = scores[visible], target[visible]
        predicted = scores.argmax(1)
        truth = target[:, None] == np.arange(task.num_outputs)
        return {
            "reliability": reliability(scores.max(1), predicted == target),
            "confusion": confusion(task.classes, target, predicted),
            "curves": curves(task.classes, scores, truth, np.ones_like(truth)),
        }
    if isinstance(task, Multilabel):
        visible, truth = ~np.isnan(target), target > 0.5
        return {
            "reliability": reliability(scores[visible], truth[visible]),
            "curves": curves(task.labels, scores, truth, visible),
        }
    return None


def reliability(confidence: np.ndarray, correct: np.ndarray) -> dict[str, list[Any]]:  # both [N]
    """Give the reliability diagram (Guo et al., 2017): by bin of confidence its rows, mean confidence and accuracy.

    The bins are those of the calibration error, which is the mean of |accuracy - confidence| over the rows.
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, values.astype(np.float64), minlength=BINS) for values in (confidence, correct)]
    mean, accuracy = ([float(s / n) if n else None for s, n in zip(total, count, strict=True)] for total in sums)
    return {
        "upper": [(number + 1) / BINS for number in range(BINS)],
        "count": count.tolist(),
        "confidence": mean,
        "accuracy": accuracy,
    }


def confusion(names: list[str], target: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Count, for each true class (a row), how often each class was predicted (a column)."""
    C = len(names)
    whole = np.bincount(target * C + predicted, minlength=C * C).reshape(C, C)
    shown = _most(whole.sum(1))
    return {"classes": [names[c] for c in shown], "counts": whole[np.ix_(shown, shown)].tolist()}


def curves(
    names: list[str], scores: np.ndarray, truth: np.ndarray, visible: np.ndarray
) -> dict[str, dict[str, list[float]]]:  # all [N, C]
    """Give the ROC and the precision-recall points of each class against the rest, where it has rows of both sorts."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    drawn = {}
    for c in _most((truth & visible).sum(0)):
        true, score = truth[visible[:, c], c], scores[visible[:, c], c]
        if true.all() or not true.any():
            continue
        false_positive, true_positive, _ = roc_curve(true, score)
        precision, recall, _ = precision_recall_curve(true, score)
        drawn[names[c]] = {
            "false_positive_rate": _thin(false_positive),
            "true_positive_rate": _thin(true_positive),
            "recall": _thin(recall[::-1]),
            "precision": _thin(precision[::-1]),
        }
    return drawn


def _most(counts: np.ndarray) -> np.ndarray:
    """Give the classes with the most rows, in their own order."""
    return np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])


def _thin(points: np.ndarray) -> list[float]:
    """Keep evenly many points of a curve, its ends among them."""
    kept = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).round().astype(int))
    return [round(float(point), 5) for point in points[kept]]
