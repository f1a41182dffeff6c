"""Bring the modalities of a row together, and keep those of different rows apart."""

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.types import Batch, Objective


class Contrastive(Objective):
    """Aligns the encoders, every pair of modalities through projections that the objective owns.

    The other rows are those of the same micro-batch and process: fewer with `accumulate`, not more with more devices.
    """

    def __init__(
        self,
        pair_loss: Callable[[], Any],
        kinds: Mapping[str, str],
        dims: Mapping[str, int],
        dim: int = 128,
    ) -> None:
        super().__init__()
        if len(kinds) < 2:
            raise ConfigError(f"objective: contrast needs two modalities, and here is only {', '.join(kinds)}")
        self.project = nn.ModuleDict({modality: nn.Linear(dims[modality], dim, bias=False) for modality in kinds})
        self.pair = nn.ModuleDict({f"{a}-{b}": pair_loss() for a, b in combinations(kinds, 2)})

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Give the mean over the pairs and its parts, "loss/<modality>-<modality>"."""
        features = model.encode({modality: batch.inputs[modality] for modality in self.project})
        projected = {
            modality: F.normalize(linear(features[modality].pooled).float(), dim=-1)
            for modality, linear in self.project.items()
        }
        parts = {}
        with torch.autocast(batch.index.device.type, enabled=False):  # similarities are scaled up: bf16 is too coarse
            for (a, b), (name, pair) in zip(combinations(self.project, 2), self.pair.items(), strict=True):
                parts[f"loss/{name}"] = pair(projected[a], projected[b], batch.present[a] & batch.present[b])
        return {"loss": torch.stack(list(parts.values())).mean(), **parts}


class InfoNCE(nn.Module):
    """Each row finds its other half among all rows, in both directions (CLIP: Radford et al., 2021)."""

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, a: Tensor, b: Tensor, both: Tensor) -> Tensor:  # [B, D], [B, D], [B] bool
        """Mean cross-entropy over the rows that have both."""
        logits = self.log_scale.clamp(max=math.log(100)).exp() * a @ b.T  # [B, B]
        own = torch.arange(len(a), device=a.device)
        absent = ~both & (own != own.unsqueeze(1))  # no row is to be mixed up with one that lacks a half
        logits = logits.masked_fill(absent | absent.T, torch.finfo(logits.dtype).min)
        rows = F.cross_entropy(logits, own, reduction="none") + F.cross_entropy(logits.T, own, reduction="none")
        return rows.where(both, 0).sum() / (2 * both.sum().clamp(min=1))


class PairwiseSigmoid(nn.Module):
    """Each pair of rows is judged by itself: of one row, or not (SigLIP: Zhai et al., 2023)."""

    def __init__(self, temperature: float = 0.1, bias: float = -10.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, a: Tensor, b: Tensor, both: Tensor) -> Tensor:  # [B, D], [B, D], [B] bool
        """Sum over a row's pairs, mean over the rows that have both."""
        logits = self.log_scale.exp() * a @ b.T + self.bias  # [B, B]
        sign = 2 * torch.eye(len(a), device=a.device) - 1
        pairs = F.softplus(-sign * logits) * (both & both.unsqueeze(1))
        return pairs.sum() / both.sum().clamp(min=1)
