"""What keeps a missing modality out: its filler is replaced, never multiplied by zero, so that not even a NaN gets by.

M modalities, in the order of the fusion's `dims`.
"""

import torch
from torch import Tensor, nn

from mmrun.types import Features


def pooled(features: Features, present: Tensor) -> Tensor:
    """Return the pooled features [B, D], zero where the modality is missing."""
    return torch.where(present[:, None], features.pooled, 0.0)


def tokens(features: Features, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens [B, T, D], zero where not real, and the mask [B, T]; pooled stands in for no tokens."""
    if features.tokens is None:
        return pooled(features, present)[:, None], present[:, None]
    mask = present[:, None].expand(features.tokens.shape[:2])
    if features.mask is not None:
        mask = mask & features.mask
    return torch.where(mask[..., None], features.tokens, 0.0), mask


def concat(modalities: list[str], features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
    """Lay the pooled features of all modalities side by side: [B, sum of their D]."""
    return torch.cat([pooled(features[name], present[name]) for name in modalities], dim=1)


def stacked(modalities: list[str], present: dict[str, Tensor]) -> Tensor:
    """Return which modalities each row has: [B, M] bool."""
    return torch.stack([present[name] for name in modalities], dim=1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average over dimension 1 what the mask lets through, [B, T, D] and [B, T] -> [B, D]; nothing gives zero."""
    total = torch.where(mask[..., None], values, 0.0).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1)


def masked_softmax(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax over what the mask lets through: exactly zero elsewhere, and all zero where it lets nothing through."""
    lowest = torch.finfo(scores.dtype).min  # not -inf, which gives NaN where everything is masked
    return torch.where(mask, scores.masked_fill(~mask, lowest).softmax(dim), 0.0)


def projections(dims: dict[str, int], dim: int) -> nn.ModuleDict:
    """Make the Linears that bring all modalities to one width: `project.<modality>`.

    Their biases tell the modalities apart: they are what others call modality embeddings.
    """
    return nn.ModuleDict({name: nn.Linear(width, dim) for name, width in dims.items()})


def project_pooled(
    project: nn.ModuleDict, features: dict[str, Features], present: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:  # [B, M, dim], [B, M]
    """Project the pooled features, and tell which are real; of a missing modality the bias is left."""
    vectors = [linear(pooled(features[name], present[name])) for name, linear in project.items()]
    return torch.stack(vectors, dim=1), stacked(list(project), present)


def project_tokens(
    project: nn.ModuleDict, features: dict[str, Features], present: dict[str, Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:  # by modality: [B, T, dim], [B, T]
    """Project the tokens, and tell which are real; of the others the bias is left."""
    projected = {}
    for name, linear in project.items():
        values, mask = tokens(features[name], present[name])
        projected[name] = linear(values), mask
    return projected
