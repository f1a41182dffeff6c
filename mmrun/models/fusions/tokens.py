"""Sequences of tokens with their masks, as the fusions by attention pass them on."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Tokens = tuple[Tensor, Tensor]  # tokens [B, T, D], and [B, T] bool, True where the token is real


def concat_tokens(tokens: dict[str, Tokens]) -> Tokens:
    """Concatenate the tokens of all modalities.

    Args:
        tokens: by modality, [B, T, D], with masks [B, T].

    Returns:
        [B, sum of T, D] and [B, sum of T].
    """
    values = torch.cat([x for x, _ in tokens.values()], dim=1)
    return values, torch.cat([mask for _, mask in tokens.values()], dim=1)


def init_tokens(count: int, dim: int) -> nn.Parameter:
    """Return learned tokens with small random values.

    Args:
        count: S, their number.
        dim: D.

    Returns:
        [1, S, D].
    """
    return nn.Parameter(torch.randn(1, count, dim) * 0.02)


def prepend_tokens(learned: Tensor, x: Tensor, mask: Tensor) -> Tokens:
    """Put tokens that every row has before the others.

    Args:
        learned: [1, S, D], or [B, S, D].
        x: [B, T, D].
        mask: [B, T] bool.

    Returns:
        [B, S + T, D] and [B, S + T].
    """
    return torch.cat([learned.expand(x.shape[0], -1, -1), x], dim=1), F.pad(mask, (learned.shape[1], 0), value=True)
