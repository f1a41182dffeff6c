"""Keep missing modalities out of a fusion: their filler is replaced, not multiplied by zero, so that no NaN leaks.

Shapes: M modalities in the order of the fusion's `dims`, D_m the width of one modality's features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmrun.types import Features


def mask_pooled(features: Features, present: Tensor) -> Tensor:
    """Set the pooled features to zero where the modality is missing.

    Args:
        features: of one modality, pooled [B, D_m].
        present: [B] bool.

    Returns:
        [B, D_m].
    """
    return torch.where(present[:, None], features.pooled, 0.0)


def mask_tokens(features: Features, present: Tensor) -> tuple[Tensor, Tensor]:
    """Set padding tokens to zero, and all tokens where the modality is missing.

    Args:
        features: of one modality; without tokens, the pooled vector is its only token.
        present: [B] bool.

    Returns:
        Tokens [B, T, D_m], and [B, T] bool, True where the token is real.
    """
    if features.tokens is None:
        return mask_pooled(features, present)[:, None], present[:, None]
    mask = present[:, None].expand(features.tokens.shape[:2])
    if features.mask is not None:
        mask = mask & features.mask
    return torch.where(mask[..., None], features.tokens, 0.0), mask


def concat_pooled(modalities: Sequence[str], features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
    """Concatenate the pooled features of all modalities; a missing one is zeros.

    Args:
        modalities: in the order of the result.
        features: by modality, pooled [B, D_m].
        present: by modality, [B] bool.

    Returns:
        [B, sum of D_m].
    """
    return torch.cat([mask_pooled(features[name], present[name]) for name in modalities], dim=1)


def stack_present(modalities: Sequence[str], present: dict[str, Tensor]) -> Tensor:
    """Stack the flags that say which modalities each row has.

    Args:
        modalities: in the order of the result.
        present: by modality, [B] bool.

    Returns:
        [B, M] bool.
    """
    return torch.stack([present[name] for name in modalities], dim=1)


def drop_modalities(present: dict[str, Tensor], drop_prob: float) -> dict[str, Tensor]:
    """Draw which of the present modalities are kept; a row that would lose all keeps the one drawn highest.

    Args:
        present: by modality, [B] bool.
        drop_prob: probability that a modality is dropped.

    Returns:
        What is still present, by modality, [B] bool.
    """
    before = torch.stack(list(present.values()), dim=1)  # [B, M]
    drawn = torch.rand(before.shape, device=before.device).masked_fill(~before, -1.0)
    highest = drawn == drawn.amax(dim=1, keepdim=True)
    after = before & ((drawn >= drop_prob) | highest)
    return dict(zip(present, after.unbind(1), strict=True))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average over dimension 1 where the mask is True.

    Args:
        values: [B, T, D].
        mask: [B, T] bool.

    Returns:
        [B, D]; zero for a row whose mask is False throughout.
    """
    total = torch.where(mask[..., None], values, 0.0).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1)


def masked_softmax(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Apply a softmax to the scores where the mask is True.

    Args:
        scores: of any shape.
        mask: bool, broadcastable to the scores.
        dim: over which the weights sum to one.

    Returns:
        Weights in the shape of the scores: exactly zero where the mask is False, also where it is False throughout.
    """
    lowest = torch.finfo(scores.dtype).min  # -inf would give NaN where everything is masked
    return torch.where(mask, scores.masked_fill(~mask, lowest).softmax(dim), 0.0)


def build_projections(dims: dict[str, int], dim: int) -> nn.ModuleDict:
    """Build a linear layer per modality that brings its features to a common width.

    The biases tell the modalities apart, as learned modality embeddings do elsewhere.

    Args:
        dims: D_m by modality.
        dim: the common width.

    Returns:
        Linear layers by modality, to be stored as `project`, so that parameters are named `project.<modality>.*`.
    """
    return nn.ModuleDict({name: nn.Linear(width, dim) for name, width in dims.items()})


def project_pooled(
    project: nn.ModuleDict, features: dict[str, Features], present: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Project the pooled features of all modalities to a common width.

    Args:
        project: from `build_projections`.
        features: by modality, pooled [B, D_m].
        present: by modality, [B] bool.

    Returns:
        Vectors [B, M, dim], in which a missing modality is the bias of its layer, and [B, M] bool, True where present.
    """
    vectors = [linear(mask_pooled(features[name], present[name])) for name, linear in project.items()]
    return torch.stack(vectors, dim=1), stack_present(list(project), present)


def project_tokens(
    project: nn.ModuleDict, features: dict[str, Features], present: dict[str, Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Project the tokens of all modalities to a common width.

    Args:
        project: from `build_projections`.
        features: by modality, tokens [B, T, D_m]; without them, the pooled vector is the only token.
        present: by modality, [B] bool.

    Returns:
        By modality, tokens [B, T, dim], in which padding is the bias of the layer, and [B, T] bool, True where real.
    """
    projected = {}
    for name, linear in project.items():
        tokens, mask = mask_tokens(features[name], present[name])
        projected[name] = linear(tokens), mask
    return projected
