"""MLA: each modality learns alone, by turns, through a head that all of them share."""

from collections.abc import Callable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.dynamic import SharedHead
from mmrun.models.fusions.presence import project_pooled
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.unimodal import average_over_processes, separate_gradients
from mmrun.objectives.losses import hide_targets, sum_losses
from mmrun.objectives.task import Task
from mmrun.types import ALL, Batch, Features, Objective
from mmrun.values import PositiveFloat


class Mla(Objective):
    """MLA, multimodal learning with alternating unimodal adaptation (Zhang, Yoon, Bansal & Yao, 2024).

    In its turn, a modality learns alone: the others are missing for the fusion, so that no encoder gets a gradient that
    depends on another modality. What one turn teaches the shared classifier must not undo what the others taught it:
    its gradient is multiplied by a matrix P, from which the mean vectors h of the other modalities are removed one
    after the other, P <- P - k h'P with k = Ph / (alpha + h'Ph).

    The authors take an optimiser step in each turn; here one step takes all turns, from the same weights, so that every
    step reads all modalities and costs the same. Their P goes on from step to step; here it begins anew, and so never
    exhausts the directions in which the classifier can learn.

    Args:
        objective: to wrap; it computes the loss of each turn.
        model: whose fusion has the shared classifier.
        alpha: how much of a direction stays open; mean vectors have length 1.

    Raises:
        ConfigError: the fusion has no shared classifier, or the wrapped objective is not `task` or `multi_loss`.
    """

    def __init__(self, objective: Objective, model: Multimodal, alpha: PositiveFloat = 0.1) -> None:
        super().__init__()
        if not isinstance(objective, Task):
            raise ConfigError(
                f"balance: mla trains each modality alone, which {type(objective).__name__} cannot; choose another "
                "balance, or objective task or multi_loss"
            )
        if not isinstance(model.fusion, SharedHead):
            raise ConfigError(
                f"balance: mla trains a classifier that all modalities share, and the fusion is "
                f"{type(model.fusion).__name__}; add fusion=mla, or choose another balance"
            )
        self.objective: Task = objective
        self.alpha = alpha
        self.projections = torch.zeros(())  # of this batch, for `backward`

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the sum of the losses of all turns.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            loss, loss/alone/<modality>.
        """
        if not self.training:
            validation_losses: dict[str, Tensor] = self.objective(model, batch)
            return validation_losses
        assert isinstance(model.fusion, SharedHead)
        features = self.objective.encode(model, batch.inputs)
        with torch.no_grad():
            vectors, mask = project_pooled(model.fusion.project, features, batch.present)  # [B, M, D], [B, M]
            totals = average_over_processes(vectors.float().where(mask[..., None], 0.0).sum(0))  # [M, D]
            self.projections = compute_projections(F.normalize(totals, dim=1), self.alpha)
        losses = {}
        for modality in model.fusion.project:
            turn = select_modality(batch, modality)
            outputs = self.objective.predict(model, detach_others(features, modality), turn.present)
            losses[f"loss/alone/{modality}"] = self.objective.compute_losses(outputs, turn)["loss"]
        return {"loss": sum_losses(losses.values()), **losses}

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients of all turns, those of the shared classifier projected; see `Objective.backward`."""
        assert isinstance(model, Multimodal)
        assert isinstance(model.fusion, SharedHead)
        turns = [loss for name, loss in losses.items() if name.startswith("loss/alone/")]
        gradients = separate_gradients(model, self, turns, scale)
        result = {parameter: torch.stack(rows).sum(0) for parameter, rows in gradients.items()}
        weight = cast(nn.Parameter, model.fusion.classifier.weight)
        if weight in gradients:
            result[weight] = (torch.stack(gradients[weight]) @ self.projections).sum(0)
        torch.autograd.backward(list(result), list(result.values()))


def compute_projections(means: Tensor, alpha: float) -> Tensor:
    """Return the matrix of each modality that keeps its gradient from changing the outputs of the others.

    Args:
        means: mean input of the shared layer by modality [M, D], of length 1; 0 where no row has the modality.
        alpha: how much of a direction stays open.

    Returns:
        [M, D, D]; a gradient of the layer's weight is multiplied by it from the right.
    """
    projections = []
    for turn in range(len(means)):
        projection = torch.eye(means.shape[1], device=means.device)
        for other, mean in enumerate(means):
            if other != turn:
                gain = projection @ mean
                projection = projection - torch.outer(gain, gain) / (alpha + mean @ gain)
        projections.append(projection)
    return torch.stack(projections)


def detach_others(features: Mapping[str, Features], modality: str) -> dict[str, Features]:
    """Return features of which those of one modality alone have a gradient.

    Args:
        features: by modality.
        modality: whose gradient is kept.
    """
    detached = {}
    for name, parts in features.items():
        others = Features(*(None if part is None else part.detach() for part in parts))  # type: ignore[arg-type]
        detached[name] = parts if name == modality else others
    return detached


def select_modality(batch: Batch, modality: str) -> Batch:
    """Return a batch in which one modality alone is present, and only targets of rows that have it are visible.

    Args:
        batch: is not changed itself.
        modality: by name.
    """
    rows = batch.present[modality]
    present = {name: rows if name == modality else torch.zeros_like(rows) for name in batch.present}
    targets = {name: hide_targets(target, rows) for name, target in batch.targets.items()}
    weights = batch.weights
    if weights is not None:
        weights = {name: {**by_modality, ALL: by_modality[modality]} for name, by_modality in weights.items()}
    return batch._replace(present=present, targets=targets, weights=weights)
