"""One number or several."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.data.table import Target


class Regression:
    """Predicts the numbers called `outputs`. The model works on standardised ones; a NaN is hidden."""

    primary_metric = "r2"

    def __init__(self, name: str, outputs: list[str], mean: np.ndarray, std: np.ndarray) -> None:
        self.name = name
        self.outputs = outputs
        self.num_outputs = len(outputs)
        self.mean = torch.as_tensor(mean, dtype=torch.float32)  # [C], of the training rows
        self.std = torch.as_tensor(std, dtype=torch.float32)  # [C], above 0

    @classmethod
    def of(cls, name: str, target: Target, train_rows: np.ndarray) -> "Regression":
        """Make the task of a target column, standardised by its training rows."""
        values = target.values[train_rows].reshape(len(train_rows), -1).astype(np.float64)
        std = np.nanstd(values, axis=0)
        return cls(name, target.names, np.nanmean(values, axis=0), np.where(std > 0, std, 1.0))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of the standardised visible numbers. output [B, C], target [B] or [B, C]."""
        error, visible = self._error(output, target)
        return (error.square() * visible).sum() / visible.sum().clamp(min=1)

    def l1(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean absolute error of the standardised visible numbers: one far off weighs no more than many near."""
        error, visible = self._error(output, target)
        return (error.abs() * visible).sum() / visible.sum().clamp(min=1)

    def huber(self, output: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
        """Half the squared error up to `delta` standard deviations, from there on linear (Huber, 1964)."""
        error, visible = self._error(output, target)
        each = F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta)
        return (each * visible).sum() / visible.sum().clamp(min=1)

    def _error(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:  # both [B, C]
        """Return the errors of the standardised numbers, and which targets are visible."""
        self._move(output.device)
        target = target.reshape(output.shape)
        visible = ~target.isnan()
        wanted = torch.where(visible, (target - self.mean) / self.std, 0)
        return output.float() - wanted, visible

    def scores(self, output: Tensor) -> Tensor:
        """Numbers in the target's own unit."""
        self._move(output.device)
        return output.float() * self.std + self.mean

    def metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Figures of a whole split: the mean over the outputs that define each; none where all is hidden."""
        columns = self.per_class(scores, target).values()
        figures = {}
        for metric in ("mse", "rmse", "mae", "r2"):
            values = [column[metric] for column in columns if metric in column]
            if values:
                figures[metric] = float(np.mean(values))
        return figures

    def per_class(self, scores: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
        """Errors and number of rows by output; no R2 where the target does not vary."""
        target = target.reshape(scores.shape)
        return {name: _errors(scores[:, c], target[:, c]) for c, name in enumerate(self.outputs)}

    def _move(self, device: torch.device) -> None:
        """Bring the statistics to the device once, not at every step."""
        if self.mean.device != device:
            self.mean, self.std = self.mean.to(device), self.std.to(device)


def _errors(score: np.ndarray, target: np.ndarray) -> dict[str, float]:  # both [N]
    visible = ~np.isnan(target)
    score, target = score[visible].astype(np.float64), target[visible].astype(np.float64)
    if len(target) == 0:
        return {"count": 0.0}
    mse, variance = np.square(score - target).mean(), target.var()
    errors = {"mse": mse, "rmse": np.sqrt(mse), "mae": np.abs(score - target).mean(), "count": len(target)}
    if variance > 0:
        errors["r2"] = 1 - mse / variance
    return {metric: float(value) for metric, value in errors.items()}
