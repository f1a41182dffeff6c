"""One or several numbers."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.data.moments import drop_rounding_errors
from mmrun.data.table import Target


class Regression:
    """Predicts numbers. The model works on standardised ones; NaN is hidden.

    Args:
        name: of the task.
        outputs: names of the numbers.
        mean: of the training rows [C].
        std: of the training rows [C], above 0.
    """

    primary_metric = "r2"

    def __init__(self, name: str, outputs: list[str], mean: np.ndarray, std: np.ndarray) -> None:
        self.name = name
        self.outputs = outputs
        self.num_outputs = len(outputs)
        self.mean = torch.as_tensor(mean, dtype=torch.float32)
        self.std = torch.as_tensor(std, dtype=torch.float32)

    @staticmethod
    def fit(target: Target, train_rows: np.ndarray) -> dict[str, Any]:
        """Return the arguments of the constructor that a target column decides.

        Args:
            target: the column.
            train_rows: numbers of the labelled training rows [N].

        Returns:
            `outputs`, `mean` and `std`.
        """
        values = target.values[train_rows].reshape(len(train_rows), -1).astype(np.float64)
        mean = np.nanmean(values, axis=0)
        std = drop_rounding_errors(np.nanstd(values, axis=0), mean)
        return {"outputs": target.names, "mean": mean, "std": np.where(std > 0, std, 1.0)}

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of the standardised visible numbers.

        Args:
            output: [B, C].
            target: [B] or [B, C], NaN where hidden.
        """
        error, visible = self._error(output, target)
        return (error.square() * visible).sum() / visible.sum().clamp(min=1)

    def l1(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean absolute error of the standardised visible numbers, which outliers influence less.

        Args:
            output: [B, C].
            target: [B] or [B, C], NaN where hidden.
        """
        error, visible = self._error(output, target)
        return (error.abs() * visible).sum() / visible.sum().clamp(min=1)

    def huber(self, output: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
        """Return the Huber loss (1964): half the squared error up to `delta` standard deviations, linear beyond.

        Args:
            output: [B, C].
            target: [B] or [B, C], NaN where hidden.
            delta: standard deviations.
        """
        error, visible = self._error(output, target)
        row_losses = F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta)
        return (row_losses * visible).sum() / visible.sum().clamp(min=1)

    def _error(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:  # both [B, C]
        """Return the errors of the standardised numbers, and which targets are visible."""
        self._move(output.device)
        target = target.reshape(output.shape)
        visible = ~target.isnan()
        standardised = torch.where(visible, (target - self.mean) / self.std, 0)
        return output.float() - standardised, visible

    def scores(self, output: Tensor) -> Tensor:
        """Return numbers in the target's own unit, [B, C].

        Args:
            output: [B, C], standardised.
        """
        self._move(output.device)
        return output.float() * self.std + self.mean

    def metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return the metrics of a whole split, averaged over the outputs that define them; empty where all is hidden.

        Args:
            scores: [N, C].
            target: [N] or [N, C].
        """
        columns = self.per_class(scores, target).values()
        metrics = {}
        for metric in ("mse", "rmse", "mae", "r2"):
            values = [column[metric] for column in columns if metric in column]
            if values:
                metrics[metric] = float(np.mean(values))
        return metrics

    def quick_metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return all metrics.

        Args:
            scores: [N, C].
            target: [N] or [N, C].
        """
        return self.metrics(scores, target)

    def per_class(self, scores: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
        """Return errors and number of rows by output; R2 is left out where the target does not vary.

        Args:
            scores: [N, C], in the target's unit.
            target: [N] or [N, C], NaN where unknown.
        """
        target = target.reshape(scores.shape)
        return {name: _errors(scores[:, c], target[:, c]) for c, name in enumerate(self.outputs)}

    def _move(self, device: torch.device) -> None:
        """Move the statistics to the device once, not at every step."""
        if self.mean.device != device:
            self.mean, self.std = self.mean.to(device), self.std.to(device)


def _errors(score: np.ndarray, target: np.ndarray) -> dict[str, float]:  # both [N]
    visible = ~np.isnan(target)
    score, target = score[visible].astype(np.float64), target[visible].astype(np.float64)
    if len(target) == 0:
        return {"count": 0.0}
    mse = np.square(score - target).mean()
    variance = drop_rounding_errors(target.std(), target.mean()) ** 2
    errors = {"mse": mse, "rmse": np.sqrt(mse), "mae": np.abs(score - target).mean(), "count": len(target)}
    if variance > 0:
        errors["r2"] = 1 - mse / variance
    return {metric: float(value) for metric, value in errors.items()}
