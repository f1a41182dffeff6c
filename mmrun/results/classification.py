"""How far probabilities can be believed, and which classes are taken for which: from scores and targets alone."""

from typing import NamedTuple

import numpy as np

from mmrun.results.evaluation_schema import Confusion, CurvePoints, Reliability

BINS = 15  # of confidence, as many as the calibration error has
MOST_CLASSES = 50  # that a matrix or a set of curves is drawn for: those with the most rows
MOST_POINTS = 101  # of a curve


class Binned(NamedTuple):
    """Rows by their confidence: in each bin how many, the sum of their confidence, and how many are right."""

    rows: np.ndarray  # all [BINS]
    confidence: np.ndarray
    right: np.ndarray


class Curve(NamedTuple):
    """One class against the rest, at every threshold from the highest down: recall is the true positive rate too."""

    false_positive_rate: np.ndarray  # all [T], from 0 to 1
    recall: np.ndarray
    precision: np.ndarray

    @property
    def auroc(self) -> float:
        """Area under the ROC curve."""
        return float(np.trapezoid(self.recall, self.false_positive_rate))

    @property
    def average_precision(self) -> float:
        """Area under the steps of the precision-recall curve."""
        return float(np.sum(np.diff(self.recall) * self.precision[1:]))


def binned(confidence: np.ndarray, correct: np.ndarray) -> Binned:  # both [N]
    """Sum rows up in the bins of the calibration error."""
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    sums = [np.bincount(bins, values.astype(np.float64), BINS) for values in (confidence, correct)]
    return Binned(np.bincount(bins, minlength=BINS), *sums)


def reliability(confidence: np.ndarray, correct: np.ndarray) -> Reliability:  # both [N]
    """Return the reliability diagram (Guo et al., 2017): by bin of confidence its rows, mean confidence and accuracy.

    The calibration error is the mean of |accuracy - confidence| over the rows.
    """
    found = binned(confidence, correct)
    mean, accuracy = (
        [float(s / n) if n else None for s, n in zip(total, found.rows, strict=True)]
        for total in (found.confidence, found.right)
    )
    return {
        "upper": [(number + 1) / BINS for number in range(BINS)],
        "count": found.rows.tolist(),
        "confidence": mean,
        "accuracy": accuracy,
    }


def counted(target: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:  # [C, C]
    """Count, for each true class (a row), how often each class was predicted (a column)."""
    C = num_classes
    return np.bincount(target * C + predicted, minlength=C * C).reshape(C, C)


def confusion(names: list[str], target: np.ndarray, predicted: np.ndarray) -> Confusion:
    """Return the confusion matrix of the classes with the most rows."""
    whole = counted(target, predicted, len(names))
    shown = most(whole.sum(1))
    return {"classes": [names[c] for c in shown], "counts": whole[np.ix_(shown, shown)].tolist()}


def curves(names: list[str], scores: np.ndarray, truth: np.ndarray, visible: np.ndarray) -> dict[str, Curve]:
    """Return the curve of each class against the rest, where it has visible rows of both sorts. All arrays [N, C]."""
    drawn = {}
    for c in most((truth & visible).sum(0)):
        true, score = truth[visible[:, c], c], scores[visible[:, c], c]
        if true.any() and not true.all():
            drawn[names[c]] = curve(true, score)
    return drawn


def curve(true: np.ndarray, score: np.ndarray) -> Curve:  # both [N]
    """Count what each threshold lets through, rows with one score at once."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # row of each distinct score
    hits = np.cumsum(true[order])[last]
    false = last + 1 - hits
    return Curve(
        false_positive_rate=np.concatenate([[0.0], false / false[-1]]),
        recall=np.concatenate([[0.0], hits / hits[-1]]),
        precision=np.concatenate([[1.0], hits / (last + 1)]),
    )


def thinned(drawn: Curve) -> CurvePoints:
    """Return evenly many points of a curve, its ends among them, as JSON values."""
    corners = np.any(np.diff([drawn.false_positive_rate, drawn.recall], 2).round(12), axis=0)
    roc = np.flatnonzero(np.concatenate([[True], corners, [True]]))
    return {
        "false_positive_rate": _thin(drawn.false_positive_rate[roc]),
        "true_positive_rate": _thin(drawn.recall[roc]),
        "recall": _thin(drawn.recall),
        "precision": _thin(drawn.precision),
    }


def most(counts: np.ndarray) -> np.ndarray:
    """Return the classes with the most rows, in their own order."""
    return np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])


def _thin(points: np.ndarray) -> list[float]:
    kept = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).round().astype(int))
    return [round(float(point), 5) for point in points[kept]]
