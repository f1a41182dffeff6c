"""One of several ordered classes."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.tasks.classification import Classification
from mmrun.types import IGNORE_INDEX


class Ordinal(Classification):
    """Predicts one of several ordered classes, lowest first: an error of one rank is better than one of two.

    The loss is the binary cross-entropy of the C - 1 questions "above this class?" (Frank & Hall, 2001). The answers
    come from one softmax, so that they cannot contradict each other, for which CORAL (Cao et al., 2020) shares weights;
    scores are probabilities of classes, as in any classification.
    """

    primary_metric = "quadratic_kappa"

    def loss(
        self, output: Tensor, target: Tensor, label_smoothing: float = 0.0, class_balanced: bool = False
    ) -> Tensor:
        """Return the loss averaged over questions and visible rows.

        Args:
            output: [B, C].
            target: [B], IGNORE_INDEX where hidden.
            label_smoothing: share of each answer that is spread over both.
            class_balanced: weigh classes inversely to their number of training rows.
        """
        questions = torch.arange(self.num_outputs - 1, device=output.device)
        truth = (target.unsqueeze(1) > questions).float()  # [B, C - 1]
        smooth = truth * (1 - label_smoothing) + label_smoothing / 2
        row_losses = F.binary_cross_entropy_with_logits(
            cumulative_logits(output.float()), smooth, reduction="none"
        ).mean(1)
        return self._mean(row_losses, target, class_balanced)

    def quick_metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return the quick metrics of a classification, the mean rank error `mae` and the quadratic kappa.

        Args:
            scores: probabilities [N, C].
            target: [N].
        """
        visible = target != IGNORE_INDEX
        metrics = super().quick_metrics(scores, target)
        predicted, truth = scores[visible].argmax(1).astype(np.float64), target[visible].astype(np.float64)
        if len(truth) == 0:
            return metrics
        metrics["mae"] = float(np.abs(predicted - truth).mean())
        # the expected squared distance if predictions were independent of the truth (Cohen, 1968)
        by_chance = predicted.var() + truth.var() + (predicted.mean() - truth.mean()) ** 2
        if by_chance > 0:
            metrics["quadratic_kappa"] = float(1 - np.square(predicted - truth).mean() / by_chance)
        return metrics


def cumulative_logits(output: Tensor) -> Tensor:
    """Return the logits of being above class 0, above class 1 ..., which decrease, [B, C] -> [B, C - 1].

    Args:
        output: [B, C], one logit per class.
    """
    C = output.shape[1]
    classes = torch.arange(C, device=output.device)
    higher = classes > classes[:-1, None]  # [C - 1, C]
    logits = output.unsqueeze(1)  # [B, 1, C]
    lowest = float("-inf")
    return logits.masked_fill(~higher, lowest).logsumexp(2) - logits.masked_fill(higher, lowest).logsumexp(2)
