"""The metrics of a split, computed on all its rows at once.

A class or label without a true or predicted row counts in no mean, and an undefined metric (AUROC with a single class)
is left out.
"""

from typing import NamedTuple

import numpy as np

VERSION = 1  # of the definitions below; raised when a metric would change on the same scores

BINS = 15  # of the calibration error


class ClassCounts(NamedTuple):
    """Numbers of rows by class or label, from which precision, recall and F1 follow.

    Attributes:
        both: true and predicted [C].
        true: true [C].
        predicted: predicted [C].
    """

    both: np.ndarray
    true: np.ndarray
    predicted: np.ndarray

    @property
    def used(self) -> np.ndarray:
        """Which classes have a true or a predicted row, [C] bool."""
        used: np.ndarray = self.true + self.predicted > 0
        return used

    @property
    def precision(self) -> np.ndarray:
        """The share of predicted rows that are true; 0 where none is predicted."""
        precision: np.ndarray = self.both / np.maximum(self.predicted, 1)
        return precision

    @property
    def recall(self) -> np.ndarray:
        """The share of true rows that are predicted; 0 where there is none."""
        recall: np.ndarray = self.both / np.maximum(self.true, 1)
        return recall

    @property
    def f1(self) -> np.ndarray:
        """The harmonic mean of precision and recall."""
        f1: np.ndarray = 2 * self.both / np.maximum(self.true + self.predicted, 1)
        return f1

    def per_class(self, names: list[str]) -> dict[str, dict[str, float]]:
        """Return the metrics by class name; `count` is the number of true rows.

        Args:
            names: of the classes.
        """
        by_class = {}
        for number, name in enumerate(names):
            by_class[name] = {
                "precision": float(self.precision[number]),
                "recall": float(self.recall[number]),
                "f1": float(self.f1[number]),
                "count": float(self.true[number]),
            }
        return by_class


def ranking_metrics(scores: np.ndarray, truth: np.ndarray, visible: np.ndarray) -> dict[str, float]:
    """Return AUROC and average precision, each averaged over the columns with both a true and a false row.

    Args:
        scores: [N, C].
        truth: [N, C] bool.
        visible: [N, C] bool, whether the truth is known.
    """
    positive, negative = (truth & visible).sum(0), (~truth & visible).sum(0)
    columns = np.flatnonzero((positive > 0) & (negative > 0))
    if len(columns) == 0:
        return {}
    aurocs, average_precisions = [], []
    for c in columns:
        is_visible = visible[:, c]
        true, false = _count_above_thresholds(scores[is_visible, c], truth[is_visible, c])
        aurocs.append(_compute_auroc(true, false))
        average_precisions.append(_compute_average_precision(true, false))
    return {"auroc": float(np.mean(aurocs)), "average_precision": float(np.mean(average_precisions))}


def _count_above_thresholds(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of true and of false rows with at least each different score, the highest first.

    This and the two functions below repeat scikit-learn's arithmetic to the last bit. Its own functions check their
    arguments for 3 ms a call, which with 2,000 classes is most of an evaluation.

    Args:
        scores: [N].
        truth: [N] bool.
    """
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    last_rows = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each score
    true = np.cumsum(truth[order], dtype=np.float64)[last_rows]
    return true, 1 + last_rows - true


def _compute_auroc(true: np.ndarray, false: np.ndarray) -> float:
    """Return the area under the ROC curve by the trapezoidal rule, without the points inside straight lines."""
    if len(true) > 2:
        is_corner = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        corners = np.flatnonzero(np.concatenate([[True], is_corner, [True]]))
        true, false = true[corners], false[corners]
    true, false = np.append(0.0, true), np.append(0.0, false)
    return float(np.trapezoid(true / true[-1], false / false[-1]))


def _compute_average_precision(true: np.ndarray, false: np.ndarray) -> float:
    """Return the sum of precisions, weighted by the increases of recall."""
    precision, recall = np.flip(true / (true + false)), np.append(np.flip(true / true[-1]), 0.0)
    return max(0.0, float(-np.sum(np.diff(recall) * precision)))


def sensitivity_at_specificity(scores: np.ndarray, truth: np.ndarray, specificity: float) -> float:
    """Return the largest share of true rows above a threshold that enough false rows stay below.

    Args:
        scores: [N].
        truth: [N] bool, with both values.
        specificity: the least share of false rows below the threshold.
    """
    true, false = _count_above_thresholds(scores, truth)
    is_specific = false <= np.floor(
        (1 - specificity) * false[-1] + 1e-9
    )  # 0.1 of 10 rows is one, whatever the rounding
    return float(true[is_specific].max(initial=0.0) / true[-1])


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Return the expected calibration error over equal-width bins (Guo et al., 2017).

    Args:
        confidence: [N], 0..1.
        correct: [N] bool.
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gap = np.bincount(bins, weights=correct.astype(np.float64) - confidence, minlength=BINS)
    return float(np.abs(gap).sum() / len(confidence))
