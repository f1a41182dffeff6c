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
        num_layers: int = 1,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        if len(kinds) < 2:
            raise ConfigError(f"objective: contrast needs two modalities, and here is only {', '.join(kinds)}")
        self.normalize = normalize
        self.project = nn.ModuleDict({modality: _projection(dims[modality], dim, num_layers) for modality in kinds})
        self.pair = nn.ModuleDict({f"{a}-{b}": pair_loss() for a, b in combinations(kinds, 2)})

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over the pairs and its parts, "loss/<modality>-<modality>"."""
        features = model.encode({modality: batch.inputs[modality] for modality in self.project})
        projected = {modality: project(features[modality].pooled).float() for modality, project in self.project.items()}
        if self.normalize:
            projected = {modality: F.normalize(vectors, dim=-1) for modality, vectors in projected.items()}
        parts = {}
        with torch.autocast(batch.index.device.type, enabled=False):  # similarities are scaled up: bf16 is too coarse
            for (a, b), (name, pair) in zip(combinations(self.project, 2), self.pair.items(), strict=True):
                parts[f"loss/{name}"] = pair(projected[a], projected[b], batch.present[a] & batch.present[b])
        return {"loss": torch.stack(list(parts.values())).mean(), **parts}


class InfoNCE(nn.Module):
    """Each row finds its other half among all rows, in both directions (CLIP: Radford et al., 2021)."""

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([-math.log(temperature)]))

    def forward(self, a: Tensor, b: Tensor, both: Tensor) -> Tensor:  # [B, D], [B, D], [B] bool
        """Mean cross-entropy over the rows that have both."""
        logits = self.log_scale.clamp(max=math.log(100)).exp() * a @ b.T  # [B, B]
        rows = tell_apart(logits, both) + tell_apart(logits.T, both)
        return rows.where(both, 0).sum() / (2 * both.sum().clamp(min=1))


class PairwiseSigmoid(nn.Module):
    """Each pair of rows is judged by itself: of one row, or not (SigLIP: Zhai et al., 2023)."""

    def __init__(self, temperature: float = 0.1, bias: float = -10.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([-math.log(temperature)]))
        self.bias = nn.Parameter(torch.tensor([float(bias)]))

    def forward(self, a: Tensor, b: Tensor, both: Tensor) -> Tensor:  # [B, D], [B, D], [B] bool
        """Sum over a row's pairs, mean over the rows that have both."""
        logits = self.log_scale.exp() * a @ b.T + self.bias  # [B, B]
        sign = 2 * torch.eye(len(a), device=a.device) - 1
        pairs = F.softplus(-sign * logits) * (both & both.unsqueeze(1))
        return pairs.sum() / both.sum().clamp(min=1)


class VicReg(nn.Module):
    """Invariance, variance, covariance (Bardes et al., 2022): no row is compared with another."""

    def __init__(self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> None:
        super().__init__()
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def forward(self, a: Tensor, b: Tensor, both: Tensor) -> Tensor:  # [B, D], [B, D], [B] bool
        """Weigh how far halves are apart, how narrow a dimension is, and how much two dimensions say the same.

        All of it over the rows that have both; of fewer than two nothing can be said, and the last two are 0.
        """
        there = both.unsqueeze(1)
        count = both.sum()
        apart = (a - b).square().where(there, 0).mean(1).sum() / count.clamp(min=1)
        narrow, alike = a.new_zeros(()), a.new_zeros(())
        for half in (a, b):
            mean = half.where(there, 0).sum(0) / count.clamp(min=1)
            centred = (half - mean).where(there, 0)
            covariance = centred.T @ centred / (count - 1).clamp(min=1)  # [D, D]
            own = covariance.diagonal()
            narrow = narrow + F.relu(1 - (own + 1e-4).sqrt()).mean() / 2
            alike = alike + (covariance.square().sum() - own.square().sum()) / len(own)
        return self.invariance * apart + (self.variance * narrow + self.covariance * alike) * (count > 1)


def tell_apart(logits: Tensor, there: Tensor) -> Tensor:  # [B, B], [B] bool -> [B]
    """Cross-entropy of each row's search for its own column; a row that is not there is no column of another."""
    own = torch.arange(len(logits), device=logits.device)
    absent = ~there & (own != own.unsqueeze(1))
    return F.cross_entropy(logits.masked_fill(absent, torch.finfo(logits.dtype).min), own, reduction="none")


def _projection(width: int, dim: int, num_layers: int) -> nn.Module:
    """Make a linear layer, or several with GELU between."""
    if num_layers < 1:
        raise ConfigError(f"objective.num_layers: {num_layers}; a projection has one at least")
    wide: list[nn.Module] = []
    for _ in range(num_layers - 1):
        wide += [nn.Linear(width, dim), nn.GELU()]
        width = dim
    last = nn.Linear(width, dim, bias=False)
    return nn.Sequential(*wide, last) if wide else last
