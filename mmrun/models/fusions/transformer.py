"""Transformer parts of the attention fusions. Shapes: Q queries read K keys, both of width D."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError

# Of queries [B, Q, F] and keys [B, K, F], with F = D / heads / 2; see `positions.Rotary`
Angles = tuple[Tensor, Tensor]


class MultiHead(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) with an additional key and value of zeros.

    A row whose keys are all masked reads that zero, where plain attention would give NaN.

    Args:
        dim: D.
        num_heads: must divide `dim`.
        dropout: of the attention weights.

    Raises:
        ConfigError: `num_heads` does not divide `dim`.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if dim % num_heads != 0:
            raise ConfigError(f"fusion.num_heads: {num_heads} does not divide fusion.dim={dim}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor, angles: Angles | None = None) -> Tensor:
        """Attend from x to the context.

        Args:
            x: [B, Q, D].
            context: [B, K, D].
            mask: [B, K] bool, True where the context may be read.
            angles: by which queries and keys are rotated; None: they are not.

        Returns:
            [B, Q, D].
        """
        query = self._split_heads(self.query(x))  # [B, heads, Q, D / heads]
        key = self._split_heads(self.key(context))
        if angles is not None:
            query, key = _rotate(query, angles[0]), _rotate(key, angles[1])
        key = F.pad(key, (0, 0, 0, 1))  # [B, heads, K + 1, D / heads]
        value = F.pad(self._split_heads(self.value(context)), (0, 0, 0, 1))
        mask = F.pad(mask, (0, 1), value=True)[:, None, None, :]  # [B, 1, 1, K + 1]
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        output: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return output

    def _split_heads(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, 2, (self.num_heads, -1)).transpose(1, 2)


def _rotate(x: Tensor, angles: Tensor) -> Tensor:  # [B, heads, T, 2 * F], [B, T, F]
    """Rotate each pair of channels i and i + F."""
    cos, sin = angles.cos()[:, None].to(x.dtype), angles.sin()[:, None].to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Block(nn.Module):
    """Pre-norm transformer block (Xiong et al., 2020): attention, then an MLP, each with a residual connection.

    Args:
        dim: D.
        num_heads: must divide `dim`.
        dropout: of the attention weights and of both outputs.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = MultiHead(dim, num_heads, dropout)
        self.dropout = nn.Dropout(dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None = None, angles: Angles | None = None) -> Tensor:
        """Update x by attention to the context.

        Args:
            x: [B, Q, D].
            mask: [B, K] bool, True where the context is real.
            context: [B, K, D]; None for self-attention.
            angles: see `MultiHead.forward`.

        Returns:
            [B, Q, D].
        """
        normed = self.norm(x)
        attended = self.attention(normed, normed if context is None else self.norm(context), mask, angles)
        x = x + self.dropout(attended)
        output: Tensor = x + self.mlp(x)
        return output


class Transformer(nn.Module):
    """A stack of `Block`s that share the mask and the context.

    Args:
        dim: D.
        num_heads: must divide `dim`.
        num_layers: blocks.
        dropout: see `Block`.
    """

    def __init__(self, dim: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, num_heads, dropout) for _ in range(num_layers))

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None = None, angles: Angles | None = None) -> Tensor:
        """Update x by attention to the context, block after block.

        Args:
            x: [B, Q, D].
            mask: [B, K] bool, True where the context is real.
            context: [B, K, D], the same for each block; None for self-attention.
            angles: see `MultiHead.forward`.

        Returns:
            [B, Q, D].
        """
        for block in self.blocks:
            x = block(x, mask, context, angles)
        return x
