"""Any number of labels out of several."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mmrun.data.table import Target
from mmrun.tasks.metrics import Hits, calibration_error, ranking


class Multilabel:
    """Predicts for each of `labels` whether a row has it. A single label of a row may be hidden (NaN)."""

    primary_metric = "average_precision"

    def __init__(self, name: str, labels: list[str]) -> None:
        self.name = name
        self.labels = labels
        self.num_outputs = len(labels)

    @classmethod
    def of(cls, name: str, target: Target, train_rows: np.ndarray) -> "Multilabel":
        """Make the task of a target column; nothing is taken from the training rows."""
        return cls(name, target.names)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean binary cross-entropy over the visible labels. output and target [B, C]."""
        visible = ~target.isnan()
        each = F.binary_cross_entropy_with_logits(output.float(), target.nan_to_num(), reduction="none")
        return (each * visible).sum() / visible.sum().clamp(min=1)

    def scores(self, output: Tensor) -> Tensor:
        """Probability of each label."""
        return output.float().sigmoid()

    def metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Figures of a whole split, a label being predicted from 0.5 on; none where every label is hidden."""
        visible, truth, predicted = ~np.isnan(target), target > 0.5, scores >= 0.5
        if not visible.any():
            return {}
        hits = self._hits(scores, target)
        whole = visible.all(1)  # [N], rows of which every label is known
        figures = {
            "f1_micro": float(2 * hits.both.sum() / max((hits.true + hits.predicted).sum(), 1)),
            "f1_macro": float(hits.f1[hits.used].mean()) if hits.used.any() else 0.0,
            **ranking(scores, truth, visible),
            "calibration_error": calibration_error(scores[visible], truth[visible]),
        }
        if whole.any():
            figures["exact_match"] = float((predicted == truth)[whole].all(1).mean())
        return figures

    def per_class(self, scores: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and number of rows by label."""
        return self._hits(scores, target).per_class(self.labels)

    def _hits(self, scores: np.ndarray, target: np.ndarray) -> Hits:
        visible, truth, predicted = ~np.isnan(target), target > 0.5, scores >= 0.5
        return Hits(
            both=(truth & predicted).sum(0),
            true=truth.sum(0),
            predicted=(predicted & visible).sum(0),
        )
