"""Any number of several labels."""

from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mmrun.data.table import Target
from mmrun.tasks.metrics import ClassCounts, calibration_error, ranking_metrics


class Multilabel:
    """Predicts for each label whether a row has it. Single labels of a row may be hidden (NaN).

    Args:
        name: of the task.
        labels: names, in the order of the outputs.
    """

    primary_metric = "average_precision"

    def __init__(self, name: str, labels: list[str]) -> None:
        self.name = name
        self.labels = labels
        self.num_outputs = len(labels)

    @staticmethod
    def fit(target: Target, train_rows: np.ndarray) -> dict[str, Any]:
        """Return the arguments of the constructor that a target column decides.

        Args:
            target: the column.
            train_rows: not used.

        Returns:
            `labels`.
        """
        return {"labels": target.names}

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean binary cross-entropy over the visible labels.

        Args:
            output: [B, C].
            target: [B, C], NaN where hidden.
        """
        visible = ~target.isnan()
        label_losses = F.binary_cross_entropy_with_logits(output.float(), target.nan_to_num(), reduction="none")
        return (label_losses * visible).sum() / visible.sum().clamp(min=1)

    def scores(self, output: Tensor) -> Tensor:
        """Return the probability of each label, [B, C].

        Args:
            output: [B, C].
        """
        return output.float().sigmoid()

    def quick_metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return the metrics of a whole split but those of its curves; empty where every label is hidden.

        A label is predicted from 0.5 on.

        Args:
            scores: probabilities [N, C].
            target: [N, C].
        """
        visible, truth, predicted = ~np.isnan(target), target > 0.5, scores >= 0.5
        if not visible.any():
            return {}
        counts = self._count(scores, target)
        whole = visible.all(1)  # [N], rows whose labels are all known
        metrics = {
            "f1_micro": float(2 * counts.both.sum() / max((counts.true + counts.predicted).sum(), 1)),
            "f1_macro": float(counts.f1[counts.used].mean()) if counts.used.any() else 0.0,
            "calibration_error": calibration_error(scores[visible], truth[visible]),
        }
        if whole.any():
            metrics["exact_match"] = float((predicted == truth)[whole].all(1).mean())
        return metrics

    def metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return the metrics of a whole split, AUROC and average precision included; empty where all is hidden.

        Args:
            scores: probabilities [N, C].
            target: [N, C].
        """
        return {**self.quick_metrics(scores, target), **ranking_metrics(scores, target > 0.5, ~np.isnan(target))}

    def per_class(self, scores: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
        """Return precision, recall, F1 and number of rows by label.

        Args:
            scores: probabilities [N, C].
            target: [N, C], NaN where unknown.
        """
        return self._count(scores, target).per_class(self.labels)

    def _count(self, scores: np.ndarray, target: np.ndarray) -> ClassCounts:
        visible, truth, predicted = ~np.isnan(target), target > 0.5, scores >= 0.5
        return ClassCounts(
            both=(truth & predicted).sum(0),
            true=truth.sum(0),
            predicted=(predicted & visible).sum(0),
        )
