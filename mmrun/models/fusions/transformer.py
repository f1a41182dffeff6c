"""What the attention fusions are made of. Q queries read K keys."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError


class MultiHead(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) with one more key, of zeros, that stands for nothing.

    So a row whose every key is masked reads zero instead of NaN, and nobody has to take care.
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

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Let x [B, Q, D] read those of context [B, K, D] that the mask [B, K] lets through."""
        query = self._heads(self.query(x))  # [B, heads, Q, D / heads]
        key = F.pad(self._heads(self.key(context)), (0, 0, 0, 1))  # [B, heads, K + 1, D / heads]
        value = F.pad(self._heads(self.value(context)), (0, 0, 0, 1))
        mask = F.pad(mask, (0, 1), value=True)[:, None, None, :]  # [B, 1, 1, K + 1]
        dropout = self.dropout if self.training else 0.0
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return self.out(read.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """A pre-norm transformer block: attention, then a feed-forward layer, each added to what was there."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = MultiHead(dim, num_heads, dropout)
        self.dropout = nn.Dropout(dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:  # [B, Q, D]
        """Let x read the context [B, K, D], or itself; the mask [B, K] tells what of it is real."""
        normed = self.norm(x)
        read = self.attention(normed, normed if context is None else self.norm(context), mask)
        x = x + self.dropout(read)
        return x + self.mlp(x)


class Transformer(nn.Module):
    """Blocks one after the other, all with the same mask and, if given, the same context."""

    def __init__(self, dim: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, num_heads, dropout) for _ in range(num_layers))

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:  # [B, Q, D]
        """Let x read the context [B, K, D], or itself; the mask [B, K] tells what of it is real."""
        for block in self.blocks:
            x = block(x, mask, context)
        return x
