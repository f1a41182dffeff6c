"""Aligners: resample token sequences of any length to L positions that cover the same shares of each sequence.

Each aligner maps tokens [B, T, D] and their mask [B, T] to [B, L, D]. A row without real tokens gives finite but
meaningless numbers.
"""

import torch
from torch import Tensor, nn

from mmrun.models.fusions.transformer import MultiHead


def _gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:  # [B, T, D], [B, L] -> [B, L, D]
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[2]))


def _move_real_first(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the real tokens to the front, in order, and count them [B, 1] (at least 1)."""
    positions = torch.arange(mask.shape[1], device=mask.device)
    order = torch.where(mask, positions, positions + mask.shape[1]).argsort(1)
    return _gather_tokens(tokens, order), mask.sum(1, keepdim=True).clamp(min=1)


class Nearest(nn.Module):
    """Nearest-neighbour interpolation: each position takes the token nearest to it.

    Args:
        length: L.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Align.

        Args:
            tokens: [B, T, D].
            mask: [B, T] bool, True where the token is real.

        Returns:
            [B, L, D].
        """
        tokens, count = _move_real_first(tokens, mask)
        positions = torch.arange(self.length, device=tokens.device)
        nearest = (2 * positions + 1) * count // (2 * self.length)  # the middle of the position, in whole tokens
        return _gather_tokens(tokens, nearest)


class Linear(nn.Module):
    """Linear interpolation: each position mixes the two tokens around it, weighted by their distance.

    Args:
        length: L.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Align.

        Args:
            tokens: [B, T, D].
            mask: [B, T] bool, True where the token is real.

        Returns:
            [B, L, D].
        """
        tokens, count = _move_real_first(tokens, mask)
        middles = (torch.arange(self.length, device=tokens.device) + 0.5) / self.length
        last = count - 1
        position = torch.minimum((middles * count - 0.5).clamp(min=0.0), last)  # [B, L], in tokens
        left = position.long()
        right = torch.minimum(left + 1, last)
        weight = (position - left)[..., None].to(tokens.dtype)
        return torch.lerp(_gather_tokens(tokens, left), _gather_tokens(tokens, right), weight)


class Attention(nn.Module):
    """Learned alignment: each position has a learned query that attends to all real tokens.

    Args:
        length: L.
        dim: D.
        num_heads: must divide `dim`.
    """

    def __init__(self, length: int, dim: int, num_heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, length, dim) * 0.02)
        self.norm = nn.LayerNorm(dim)
        self.attention = MultiHead(dim, num_heads, dropout=0.0)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Align.

        Args:
            tokens: [B, T, D].
            mask: [B, T] bool, True where the token is real.

        Returns:
            [B, L, D].
        """
        queries = self.query.expand(tokens.shape[0], -1, -1)
        aligned: Tensor = self.attention(queries, self.norm(tokens), mask)
        return aligned
