"""One class out of several."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.data.table import Target
from mmrun.tasks.metrics import Hits, calibration_error, ranking
from mmrun.types import IGNORE_INDEX


class Classification:
    """Predicts which one of `classes` a row has."""

    primary_metric = "accuracy"

    def __init__(self, name: str, classes: list[str], counts: np.ndarray) -> None:  # counts [C], training rows
        self.name = name
        self.classes = classes
        self.num_outputs = len(classes)
        weights = np.where(counts > 0, counts.sum() / ((counts > 0).sum() * np.maximum(counts, 1)), 0.0)
        self.class_weights = torch.as_tensor(weights, dtype=torch.float32)  # [C], 1 on average over training rows

    @classmethod
    def of(cls, name: str, target: Target, train_rows: np.ndarray) -> "Classification":
        """Make the task of a target column."""
        known = target.values[train_rows]
        counts = np.bincount(known[known != IGNORE_INDEX], minlength=len(target.names))
        return cls(name, target.names, counts)

    def loss(
        self, output: Tensor, target: Tensor, label_smoothing: float = 0.0, class_balanced: bool = False
    ) -> Tensor:
        """Mean cross-entropy over the visible rows. output [B, C], target [B].

        `class_balanced` lets every class count the same, however many training rows it has.
        """
        self._move(output.device)
        total = F.cross_entropy(
            output.float(),
            target,
            self.class_weights if class_balanced else None,
            ignore_index=IGNORE_INDEX,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        return total / (target != IGNORE_INDEX).sum().clamp(min=1)

    def focal(self, output: Tensor, target: Tensor, gamma: float = 2.0, class_balanced: bool = False) -> Tensor:
        """Cross-entropy times (1 - p)^gamma (Lin et al., 2017): rows that are right already count less."""
        each = F.cross_entropy(output.float(), target, ignore_index=IGNORE_INDEX, reduction="none")
        wrong = (-torch.expm1(-each)).clamp(min=torch.finfo(each.dtype).eps)  # 1 - p; above 0, where powers have slopes
        return self._mean(wrong.pow(gamma) * each, target, class_balanced)

    def hinge(self, output: Tensor, target: Tensor, class_balanced: bool = False) -> Tensor:
        """How far the true class is from leading by 1: the loss of a multiclass SVM (Crammer & Singer, 2001).

        Outputs so trained are margins: their softmax has the right order, and is no probability.
        """
        output, own = output.float(), target.clamp(min=0).unsqueeze(1)  # of a hidden row any class will do
        truth = output.gather(1, own)
        return self._mean((output + 1).scatter(1, own, truth).amax(1) - truth.squeeze(1), target, class_balanced)

    def scores(self, output: Tensor) -> Tensor:
        """Probability of each class."""
        return output.float().softmax(-1)

    def metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Figures of a whole split; none where every row is hidden."""
        visible = target != IGNORE_INDEX
        scores, target = scores[visible], target[visible]
        if len(target) == 0:
            return {}
        hits, predicted = self._hits(scores, target), scores.argmax(1)
        likelihood = scores[np.arange(len(target)), target].clip(np.finfo(np.float32).tiny)
        truth = target[:, None] == np.arange(self.num_outputs)
        return {
            "accuracy": float((predicted == target).mean()),
            "balanced_accuracy": float(hits.recall[hits.true > 0].mean()),
            "f1_macro": float(hits.f1[hits.used].mean()),
            "f1_weighted": float((hits.f1 * hits.true).sum() / len(target)),
            "precision_macro": float(hits.precision[hits.used].mean()),
            "recall_macro": float(hits.recall[hits.used].mean()),
            **ranking(scores, truth, np.ones_like(truth)),
            "calibration_error": calibration_error(scores.max(1), predicted == target),
            "nll": float(-np.log(likelihood, dtype=np.float64).mean()),
        }

    def per_class(self, scores: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and number of rows by class."""
        visible = target != IGNORE_INDEX
        return self._hits(scores[visible], target[visible]).per_class(self.classes)

    def _mean(self, each: Tensor, target: Tensor, class_balanced: bool) -> Tensor:  # [B], [B]
        """Average over the visible rows; `class_balanced` weighs them by class."""
        self._move(each.device)
        visible = target != IGNORE_INDEX
        weight = self.class_weights[target.clamp(min=0)] if class_balanced else 1.0
        return (weight * each).where(visible, 0).sum() / visible.sum().clamp(min=1)

    def _move(self, device: torch.device) -> None:
        """Bring the weights to the device once, not at every step."""
        if self.class_weights.device != device:
            self.class_weights = self.class_weights.to(device)

    def _hits(self, scores: np.ndarray, target: np.ndarray) -> Hits:
        predicted = scores.argmax(1)
        C = self.num_outputs
        return Hits(
            both=np.bincount(target[predicted == target], minlength=C),
            true=np.bincount(target, minlength=C),
            predicted=np.bincount(predicted, minlength=C),
        )
