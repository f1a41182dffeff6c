"""One class out of several."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.data.table import Target
from mmrun.tasks.metrics import ClassCounts, calibration_error, ranking_metrics
from mmrun.types import IGNORE_INDEX


class Classification:
    """Predicts one of several classes.

    Args:
        name: of the task.
        classes: names, in the order of the outputs.
        counts: training rows per class [C].
    """

    primary_metric = "accuracy"

    def __init__(self, name: str, classes: list[str], counts: np.ndarray) -> None:
        self.name = name
        self.classes = classes
        self.num_outputs = len(classes)
        weights = np.where(counts > 0, counts.sum() / ((counts > 0).sum() * np.maximum(counts, 1)), 0.0)
        self.class_weights = torch.as_tensor(weights, dtype=torch.float32)  # [C], 1 on average over training rows

    @staticmethod
    def fit(target: Target, train_rows: np.ndarray) -> dict[str, Any]:
        """Return the arguments of the constructor that a target column decides.

        Args:
            target: the column.
            train_rows: numbers of the labelled training rows [N].

        Returns:
            `classes` and `counts`.
        """
        known = target.values[train_rows]
        counts = np.bincount(known[known != IGNORE_INDEX], minlength=len(target.names))
        return {"classes": target.names, "counts": counts}

    def loss(
        self, output: Tensor, target: Tensor, label_smoothing: float = 0.0, class_balanced: bool = False
    ) -> Tensor:
        """Return the mean cross-entropy over the visible rows.

        Args:
            output: [B, C].
            target: [B], IGNORE_INDEX where hidden.
            label_smoothing: share of the target spread over all classes (Szegedy et al., 2016).
            class_balanced: weigh each row inversely to the number of training rows of its class; torch's own class
                weights would also weigh the spread share, so that the rarest class always wins.
        """
        row_losses = F.cross_entropy(
            output.float(), target, ignore_index=IGNORE_INDEX, reduction="none", label_smoothing=label_smoothing
        )
        return self._mean(row_losses, target, class_balanced)

    def focal(self, output: Tensor, target: Tensor, gamma: float = 2.0, class_balanced: bool = False) -> Tensor:
        """Return the focal loss, cross-entropy times (1 - p)^gamma (Lin et al., 2017): easy rows count less.

        Args:
            output: [B, C].
            target: [B], IGNORE_INDEX where hidden.
            gamma: 0 is cross-entropy.
            class_balanced: weigh classes inversely to their number of training rows.
        """
        row_losses = F.cross_entropy(output.float(), target, ignore_index=IGNORE_INDEX, reduction="none")
        smallest = torch.finfo(row_losses.dtype).eps  # above 0, so that powers have gradients
        wrong = (-torch.expm1(-row_losses)).clamp(min=smallest)  # 1 - p
        return self._mean(wrong.pow(gamma) * row_losses, target, class_balanced)

    def hinge(self, output: Tensor, target: Tensor, class_balanced: bool = False) -> Tensor:
        """Return the multiclass hinge loss (Crammer & Singer, 2001): how far the true class is from leading by 1.

        Outputs trained so are margins: their softmax has the right order, but is not a probability.

        Args:
            output: [B, C].
            target: [B], IGNORE_INDEX where hidden.
            class_balanced: weigh classes inversely to their number of training rows.
        """
        output, target_ids = output.float(), target.clamp(min=0).unsqueeze(1)  # any class for a hidden row
        truth = output.gather(1, target_ids)
        return self._mean((output + 1).scatter(1, target_ids, truth).amax(1) - truth.squeeze(1), target, class_balanced)

    def scores(self, output: Tensor) -> Tensor:
        """Return the probability of each class, [B, C].

        Args:
            output: [B, C].
        """
        return output.float().softmax(-1)

    def quick_metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return the metrics of a whole split but those of its curves; empty where every row is hidden.

        Args:
            scores: probabilities [N, C].
            target: [N].
        """
        visible = target != IGNORE_INDEX
        scores, target = scores[visible], target[visible]
        if len(target) == 0:
            return {}
        counts, predicted = self._count(scores, target), scores.argmax(1)
        likelihood = scores[np.arange(len(target)), target].clip(np.finfo(np.float32).tiny)
        return {
            "accuracy": float((predicted == target).mean()),
            "balanced_accuracy": float(counts.recall[counts.true > 0].mean()),
            "f1_macro": float(counts.f1[counts.used].mean()),
            "f1_weighted": float((counts.f1 * counts.true).sum() / len(target)),
            "precision_macro": float(counts.precision[counts.used].mean()),
            "recall_macro": float(counts.recall[counts.used].mean()),
            "calibration_error": calibration_error(scores.max(1), predicted == target),
            "nll": float(-np.log(likelihood, dtype=np.float64).mean()),
        }

    def metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return the metrics of a whole split, AUROC and average precision included; empty where every row is hidden.

        Args:
            scores: probabilities [N, C].
            target: [N].
        """
        visible = target != IGNORE_INDEX
        truth = target[visible, None] == np.arange(self.num_outputs)
        curves = ranking_metrics(scores[visible], truth, np.ones_like(truth))
        return {**self.quick_metrics(scores, target), **curves}

    def per_class(self, scores: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
        """Return precision, recall, F1 and number of rows by class.

        Args:
            scores: probabilities [N, C].
            target: [N].
        """
        visible = target != IGNORE_INDEX
        return self._count(scores[visible], target[visible]).per_class(self.classes)

    def _mean(self, row_losses: Tensor, target: Tensor, class_balanced: bool) -> Tensor:  # [B], [B]
        """Average over the visible rows; `class_balanced` weighs them by class."""
        self._move(row_losses.device)
        visible = target != IGNORE_INDEX
        weighed = self.class_weights[target.clamp(min=0)] * row_losses if class_balanced else row_losses
        return weighed.where(visible, 0).sum() / visible.sum().clamp(min=1)

    def _move(self, device: torch.device) -> None:
        """Move the weights to the device once, not at every step."""
        if self.class_weights.device != device:
            self.class_weights = self.class_weights.to(device)

    def _count(self, scores: np.ndarray, target: np.ndarray) -> ClassCounts:
        predicted = scores.argmax(1)
        C = self.num_outputs
        return ClassCounts(
            both=np.bincount(target[predicted == target], minlength=C),
            true=np.bincount(target, minlength=C),
            predicted=np.bincount(predicted, minlength=C),
        )
