"""Calibration, confusion and ROC curves of classes, from stored scores and targets alone."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from mmrun.results.evaluation_schema import Confusion, CurvePoints, Reliability

BINS = 15  # of confidence, as many as the calibration error has
MAX_CLASSES = 50  # in a confusion matrix or a set of curves: those with the most rows
MAX_POINTS = 101  # of a curve
GRID = np.linspace(0, 1, MAX_POINTS)  # of mean curves


class ConfidenceBins(NamedTuple):
    """Rows by their confidence.

    Attributes:
        rows: number of rows by bin [BINS].
        confidence: sum of their confidence [BINS].
        correct: how many are right [BINS].
    """

    rows: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray

    @property
    def calibration_error(self) -> float:
        """Expected calibration error (Guo et al., 2017)."""
        return float(np.abs(self.correct - self.confidence).sum() / self.rows.sum())


class Curve(NamedTuple):
    """One class against all others, at every threshold from the highest to the lowest.

    Attributes:
        false_positive_rate: [T], from 0 to 1.
        recall: [T], from 0 to 1; it is the true positive rate as well.
        precision: [T].
    """

    false_positive_rate: np.ndarray
    recall: np.ndarray
    precision: np.ndarray

    @property
    def auroc(self) -> float:
        """The area under the ROC curve."""
        return float(np.trapezoid(self.recall, self.false_positive_rate))

    @property
    def average_precision(self) -> float:
        """The area under the steps of the precision-recall curve."""
        return float(np.sum(np.diff(self.recall) * self.precision[1:]))


class OneVsRestCurves(NamedTuple):
    """The ROC and precision-recall curves of one class against the rest, or the mean of several, on GRID.

    Attributes:
        true_positive_rate: [101], over the false positive rate.
        precision: [101], over recall.
        auroc: area under the ROC curve.
        average_precision: area under the precision-recall curve.
    """

    true_positive_rate: np.ndarray
    precision: np.ndarray
    auroc: float
    average_precision: float

    @classmethod
    def from_curve(cls, curve: Curve) -> "OneVsRestCurves":
        """Read a curve at the points of GRID.

        Args:
            curve: at every threshold.

        Returns:
            The true positive rate is interpolated; precision is that of the first threshold that reaches a recall.
        """
        thresholds = np.searchsorted(curve.recall[1:], GRID - 1e-9)
        true_positive_rate = np.interp(GRID, curve.false_positive_rate, curve.recall)
        return cls(true_positive_rate, curve.precision[1:][thresholds], curve.auroc, curve.average_precision)

    @classmethod
    def average(cls, curves: "Iterable[OneVsRestCurves]") -> "OneVsRestCurves":
        """Average curves point by point, and their areas.

        Args:
            curves: at least one.
        """
        return cls(*(np.mean(values, axis=0) for values in zip(*curves, strict=True)))


def bin_by_confidence(confidence: np.ndarray, correct: np.ndarray) -> ConfidenceBins:
    """Sum up rows in the bins of the calibration error.

    Args:
        confidence: of each prediction [N], 0 to 1.
        correct: whether it is right [N] bool.
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return ConfidenceBins(
        rows=np.bincount(bins, minlength=BINS),
        confidence=np.bincount(bins, confidence.astype(np.float64), BINS),
        correct=np.bincount(bins, correct.astype(np.float64), BINS),
    )


def reliability_diagram(confidence: np.ndarray, correct: np.ndarray) -> Reliability:
    """Return the reliability diagram (Guo et al., 2017).

    The calibration error is the mean of |accuracy - confidence| over the rows.

    Args:
        confidence: of each prediction [N], 0 to 1.
        correct: whether it is right [N] bool.
    """
    bins = bin_by_confidence(confidence, correct)
    return {
        "upper": [(number + 1) / BINS for number in range(BINS)],
        "count": bins.rows.tolist(),
        "confidence": _mean_by_bin(bins.confidence, bins.rows),
        "accuracy": _mean_by_bin(bins.correct, bins.rows),
    }


def _mean_by_bin(sums: np.ndarray, rows: np.ndarray) -> list[float | None]:
    """Divide sums [BINS] by numbers of rows [BINS]; None for a bin without rows."""
    means: list[float | None] = []
    for total, number in zip(sums, rows, strict=True):
        means.append(float(total / number) if number else None)
    return means


def confusion_matrix(target: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Count, for each true class, how often each class was predicted.

    Args:
        target: true classes [N].
        predicted: predicted classes [N].
        num_classes: C.

    Returns:
        [C, C]; a row is a true class, a column a predicted one.
    """
    C = num_classes
    return np.bincount(target * C + predicted, minlength=C * C).reshape(C, C)


def summarize_confusion(names: list[str], target: np.ndarray, predicted: np.ndarray) -> Confusion:
    """Return the confusion matrix of the classes with the most rows, as JSON values.

    Args:
        names: of the C classes.
        target: true classes [N].
        predicted: predicted classes [N].
    """
    counts = confusion_matrix(target, predicted, len(names))
    shown = select_most_frequent(counts.sum(1))
    return {"classes": [names[c] for c in shown], "counts": counts[np.ix_(shown, shown)].tolist()}


def compute_curves(names: list[str], scores: np.ndarray, truth: np.ndarray, visible: np.ndarray) -> dict[str, Curve]:
    """Return the curve of each class against all others.

    Args:
        names: of the C classes.
        scores: [N, C].
        truth: whether a row is of a class [N, C] bool.
        visible: whether that is known [N, C] bool.

    Returns:
        By name, at most MAX_CLASSES; classes without a positive or without a negative row are left out.
    """
    by_class = {}
    for c in select_most_frequent((truth & visible).sum(0)):
        true, score = truth[visible[:, c], c], scores[visible[:, c], c]
        if true.any() and not true.all():
            by_class[names[c]] = compute_curve(true, score)
    return by_class


def compute_curve(true: np.ndarray, score: np.ndarray) -> Curve:
    """Compute recall, precision and false positive rate at every threshold; rows with equal scores come together.

    Args:
        true: whether a row is of the class [N] bool; both must occur.
        score: of the class [N].
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # row of each distinct score
    true_positives = np.cumsum(true[order])[last]
    false_positives = last + 1 - true_positives
    return Curve(
        false_positive_rate=np.concatenate([[0.0], false_positives / false_positives[-1]]),
        recall=np.concatenate([[0.0], true_positives / true_positives[-1]]),
        precision=np.concatenate([[1.0], true_positives / (last + 1)]),
    )


def thin_curve(curve: Curve) -> CurvePoints:
    """Return evenly spaced points of a curve, as JSON values.

    Returns:
        At most MAX_POINTS points of each part, its ends among them, with five decimals.
    """
    corners = np.any(np.diff([curve.false_positive_rate, curve.recall], 2).round(12), axis=0)
    roc = np.flatnonzero(np.concatenate([[True], corners, [True]]))  # points on a straight line are left out
    return {
        "false_positive_rate": _thin(curve.false_positive_rate[roc]),
        "true_positive_rate": _thin(curve.recall[roc]),
        "recall": _thin(curve.recall),
        "precision": _thin(curve.precision),
    }


def select_most_frequent(counts: np.ndarray, limit: int = MAX_CLASSES) -> np.ndarray:
    """Return the classes with the most rows, ascending.

    Args:
        counts: number of rows by class [C].
        limit: on the number of classes.
    """
    return np.sort(np.argsort(-counts, kind="stable")[:limit])


def select_most_confused(counts: np.ndarray, limit: int) -> np.ndarray:
    """Return the classes of the most frequent errors, ascending.

    Args:
        counts: confusion matrix [C, C].
        limit: on the number of classes.

    Returns:
        All classes where there are no more than the limit; the most frequent ones where there is no error.
    """
    if len(counts) <= limit:
        return np.arange(len(counts))
    errors = counts - np.diag(counts.diagonal())
    pairs = np.argwhere(errors)
    if not len(pairs):
        return select_most_frequent(counts.sum(1), limit)
    pairs = pairs[np.argsort(-errors[tuple(pairs.T)], kind="stable")]
    return np.sort(list(dict.fromkeys(pairs.ravel().tolist()))[:limit])


def has_classes(per_class: Mapping[str, Mapping[str, object]]) -> bool:
    """Return whether a task has classes or labels; a regression has errors instead.

    Args:
        per_class: metrics of the task by class or output, as in metrics.json.
    """
    return all("f1" in metrics for metrics in per_class.values())


def match_outputs(per_class: Mapping[str, Mapping[str, object]], scores: np.ndarray, target: np.ndarray) -> bool:
    """Return whether predictions are those of a task's outputs: it may be the user's class, its run someone else's.

    Args:
        per_class: metrics of the task by class or output, as in metrics.json.
        scores: [N, C].
        target: [N] or [N, C].
    """
    if scores.shape != (len(target), len(per_class)) or target.dtype.kind not in "if":
        return False
    if has_classes(per_class) and target.ndim == 1:
        return target.dtype.kind == "i" and int(target.max(initial=0)) < len(per_class)
    return target.size == scores.size


def _thin(points: np.ndarray) -> list[float]:
    """Return at most MAX_POINTS of some points [T], rounded."""
    places = np.unique(np.linspace(0, len(points) - 1, min(len(points), MAX_POINTS)).round().astype(int))
    return [round(float(point), 5) for point in points[places]]
