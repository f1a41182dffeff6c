"""Bring token sequences of any length to L places, so that place l means the same share of each: start, middle, end.

Every aligner: tokens [B, T, D], mask [B, T] -> [B, L, D]; a row without real tokens gives numbers that mean nothing.
"""

import torch
from torch import Tensor, nn

from mmrun.models.fusions.transformer import MultiHead


def _take(tokens: Tensor, index: Tensor) -> Tensor:  # [B, T, D], [B, L] -> [B, L, D]
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[2]))


def _real_first(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the real tokens to the front, in order, and count them [B, 1] (at least 1)."""
    places = torch.arange(mask.shape[1], device=mask.device)
    order = torch.where(mask, places, places + mask.shape[1]).argsort(1)
    return _take(tokens, order), mask.sum(1, keepdim=True).clamp(min=1)


class Nearest(nn.Module):
    """Each place takes the token that lies nearest."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:  # [B, L, D]
        """Align."""
        tokens, count = _real_first(tokens, mask)
        places = torch.arange(self.length, device=tokens.device)
        nearest = (2 * places + 1) * count // (2 * self.length)  # the middle of place l, in whole tokens
        return _take(tokens, nearest)


class Linear(nn.Module):
    """Each place mixes the two tokens around it, by their distance."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:  # [B, L, D]
        """Align."""
        tokens, count = _real_first(tokens, mask)
        middles = (torch.arange(self.length, device=tokens.device) + 0.5) / self.length
        last = count - 1
        position = torch.minimum((middles * count - 0.5).clamp(min=0.0), last)  # [B, L], in tokens
        left = position.long()
        right = torch.minimum(left + 1, last)
        share = (position - left)[..., None].to(tokens.dtype)
        return torch.lerp(_take(tokens, left), _take(tokens, right), share)


class Attention(nn.Module):
    """Each place has a learned query and reads all tokens: where in time a token counts is learned, not given."""

    def __init__(self, length: int, dim: int, num_heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, length, dim) * 0.02)
        self.norm = nn.LayerNorm(dim)
        self.attention = MultiHead(dim, num_heads, dropout=0.0)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:  # [B, L, D]
        """Align."""
        return self.attention(self.query.expand(tokens.shape[0], -1, -1), self.norm(tokens), mask)
