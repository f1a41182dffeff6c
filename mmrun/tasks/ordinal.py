"""One class out of several that have an order."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.tasks.classification import Classification
from mmrun.types import IGNORE_INDEX


class Ordinal(Classification):
    """Predicts which one of `classes`, lowest first, a row has; to be off by one is better than to be off by two.

    It asks C - 1 questions, "above this class?" (Frank & Hall, 2001), each with a binary cross-entropy. The answers are
    taken off one softmax, so that they never contradict each other, which CORAL (Cao et al., 2020) has shared weights
    for; and scores are probabilities of classes, as those of any classification.
    """

    primary_metric = "quadratic_kappa"

    def loss(
        self, output: Tensor, target: Tensor, label_smoothing: float = 0.0, class_balanced: bool = False
    ) -> Tensor:
        """Mean over the visible rows of the mean over the questions. output [B, C], target [B]."""
        questions = torch.arange(self.num_outputs - 1, device=output.device)
        truth = (target.unsqueeze(1) > questions).float()  # [B, C - 1]
        smooth = truth * (1 - label_smoothing) + label_smoothing / 2
        each = F.binary_cross_entropy_with_logits(above(output.float()), smooth, reduction="none").mean(1)
        return self._mean(each, target, class_balanced)

    def metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Figures of a whole split: those of a classification, and how many ranks the predictions are off."""
        visible = target != IGNORE_INDEX
        figures = super().metrics(scores, target)
        predicted, truth = scores[visible].argmax(1).astype(np.float64), target[visible].astype(np.float64)
        if len(truth) == 0:
            return figures
        figures["mae"] = float(np.abs(predicted - truth).mean())
        # what the squared distance would be if predictions had nothing to do with the truth (Cohen, 1968)
        by_chance = predicted.var() + truth.var() + (predicted.mean() - truth.mean()) ** 2
        if by_chance > 0:
            figures["quadratic_kappa"] = float(1 - np.square(predicted - truth).mean() / by_chance)
        return figures


def above(output: Tensor) -> Tensor:  # [B, C] -> [B, C - 1]
    """Return the cumulative logits: of being above class 0, above class 1 ... They fall from one to the next."""
    C = output.shape[1]
    classes = torch.arange(C, device=output.device)
    higher = classes > classes[:-1, None]  # [C - 1, C]
    each = output.unsqueeze(1)  # [B, 1, C]
    lowest = float("-inf")
    return each.masked_fill(~higher, lowest).logsumexp(2) - each.masked_fill(higher, lowest).logsumexp(2)
