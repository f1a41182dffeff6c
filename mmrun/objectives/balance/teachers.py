"""Encoders kept near what they had learned alone."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.unimodal import pooled, with_features
from mmrun.objectives.losses import summed
from mmrun.types import Batch, Objective


class Umt(Objective):
    """The uni-modal teacher (Du et al., 2023): joint training may not lose what each encoder had learned alone.

    Each encoder's pooled vector is pulled, by mean squared error, to that of a still copy of the encoder as the stage
    found it. That is worth something where an earlier stage taught the encoders apart, or their weights were given.
    """

    def __init__(self, objective: Objective, model: Multimodal, kinds: Iterable[str], weight: float = 1.0) -> None:
        super().__init__()
        if weight < 0:
            raise ConfigError(f"balance.weight: {weight} is below 0")
        self.objective, self.weight = objective, weight
        self.teacher = nn.ModuleDict({m: copy.deepcopy(model.encoder[m]).requires_grad_(False).eval() for m in kinds})

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, and each modality's distance to its teacher."""
        if not self.training:
            return self.objective(model, batch)
        losses, features = with_features(self.objective, model, batch, list(self.teacher))
        with torch.no_grad():
            wanted = pooled({m: teacher(batch.inputs[m]) for m, teacher in self.teacher.items()})
        parts = {}
        for m, vector in pooled(features).items():
            there = batch.present[m]
            each = (vector - wanted[m]).square().mean(1).where(there, 0.0)  # [B]
            parts[m] = each.sum() / there.sum().clamp(min=1)
        total = losses["loss"] + self.weight * summed(parts.values())
        return {**losses, "loss": total, **{f"loss/teacher/{m}": part for m, part in parts.items()}}
