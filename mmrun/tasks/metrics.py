"""The figures of a split, computed on all its rows at once.

A class or label that has neither a true nor a predicted row counts in no mean, and a figure that nothing defines (the
AUROC where only one class is there) is left out, never made up.
"""

from typing import NamedTuple

import numpy as np

VERSION = 1  # of what the names below mean; raised when a figure would change on the same scores

METRICS = {  # is higher better?
    "loss": False,
    "accuracy": True,
    "balanced_accuracy": True,
    "exact_match": True,
    "quadratic_kappa": True,
    "f1_macro": True,
    "f1_micro": True,
    "f1_weighted": True,
    "precision_macro": True,
    "recall_macro": True,
    "auroc": True,
    "average_precision": True,
    "calibration_error": False,
    "nll": False,
    "mse": False,
    "rmse": False,
    "mae": False,
    "r2": True,
}

BINS = 15  # of the calibration error


class Hits(NamedTuple):
    """What was true, predicted and both, by class or label: all that precision, recall and F1 need."""

    both: np.ndarray  # [C]
    true: np.ndarray  # [C]
    predicted: np.ndarray  # [C]

    @property
    def used(self) -> np.ndarray:
        """Return which classes have a true or a predicted row."""
        return self.true + self.predicted > 0

    @property
    def precision(self) -> np.ndarray:
        """Share of the predicted rows that are true; 0 where none was predicted."""
        return self.both / np.maximum(self.predicted, 1)

    @property
    def recall(self) -> np.ndarray:
        """Share of the true rows that were predicted; 0 where there is none."""
        return self.both / np.maximum(self.true, 1)

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall."""
        return 2 * self.both / np.maximum(self.true + self.predicted, 1)

    def per_class(self, names: list[str]) -> dict[str, dict[str, float]]:
        """Return the figures by name; `count` is the number of true rows."""
        columns = zip(self.precision, self.recall, self.f1, self.true, strict=True)
        return {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "count": float(n)}
            for name, (p, r, f, n) in zip(names, columns, strict=True)
        }


def ranking(scores: np.ndarray, truth: np.ndarray, visible: np.ndarray) -> dict[str, float]:  # all [N, C]
    """Return AUROC and average precision, each the mean over the columns that hold both a true and a false row."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    positive, negative = (truth & visible).sum(0), (~truth & visible).sum(0)
    columns = np.flatnonzero((positive > 0) & (negative > 0))
    if len(columns) == 0:
        return {}
    pairs = [(truth[visible[:, c], c], scores[visible[:, c], c]) for c in columns]
    return {
        "auroc": float(np.mean([roc_auc_score(*pair) for pair in pairs])),
        "average_precision": float(np.mean([average_precision_score(*pair) for pair in pairs])),
    }


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:  # both [N]
    """Expected calibration error over equal-width bins (Guo et al., 2017)."""
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gap = np.bincount(bins, weights=correct.astype(np.float64) - confidence, minlength=BINS)
    return float(np.abs(gap).sum() / len(confidence))
