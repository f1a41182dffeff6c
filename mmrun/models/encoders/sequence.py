"""What encoders of sequences share: which tokens are real, pooling over those, recurrent cells, transformer blocks.

Sequences are padded at the end. A mask is [B, T] bool, True where the token is real.
"""

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.types import Features


def readable(mask: Tensor) -> Tensor:  # [B, T] -> [B, T]
    """Count the first token of an empty row as real: the row of a missing modality gives numbers, never NaN."""
    first = torch.arange(mask.shape[1], device=mask.device) == 0
    return torch.where(mask.any(dim=1, keepdim=True), mask, first)


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:  # [B, T, D] -> [B, D]
    """Average the real tokens of each row."""
    weight = mask.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1)


def last_position(mask: Tensor) -> Tensor:  # [B, T] -> [B] int64
    """Find the last real token of each row."""
    return (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(dim=1)


def at(tokens: Tensor, position: Tensor) -> Tensor:  # [B, T, D], [B] -> [B, D]
    """Take one token of each row."""
    return tokens.gather(1, position.view(-1, 1, 1).expand(-1, -1, tokens.shape[2])).squeeze(1)


class Recurrent(nn.Module):
    """A GRU (Cho et al. 2014) or LSTM (Hochreiter & Schmidhuber 1997) that stops at each row's last token.

    Both directions are stacks of their own, the backward one reads the row reversed. Packed sequences would do the
    same, but want the lengths on the CPU: a wait for the device at every step.
    """

    def __init__(self, cell: str, in_dim: int, dim: int, num_layers: int, bidirectional: bool, dropout: float) -> None:
        super().__init__()
        if cell not in ("gru", "lstm"):
            raise ConfigError(f"cell={cell!r}: a recurrent encoder has gru or lstm cells")
        if bidirectional and dim % 2:
            raise ConfigError(f"dim={dim}: half of it is read backwards, so it must be even; or bidirectional=false")
        network = nn.GRU if cell == "gru" else nn.LSTM
        width = dim // 2 if bidirectional else dim
        between = dropout if num_layers > 1 else 0.0
        self.forwards = network(in_dim, width, num_layers, batch_first=True, dropout=between)
        self.backwards = (
            network(in_dim, width, num_layers, batch_first=True, dropout=between) if bidirectional else None
        )

    def forward(self, x: Tensor, mask: Tensor) -> Features:  # [B, T, in_dim], [B, T]
        """Read; pooled: the last states."""
        last = last_position(mask)
        tokens = self.forwards(x)[0]
        pooled = at(tokens, last)
        if self.backwards is not None:
            back = _mirror(self.backwards(_mirror(x, last))[0], last)
            tokens = torch.cat([tokens, back], dim=-1)
            pooled = torch.cat([pooled, back[:, 0]], dim=-1)
        return Features(pooled, tokens, mask)


def _mirror(x: Tensor, last: Tensor) -> Tensor:  # [B, T, D], [B] -> [B, T, D]
    """Turn each row around, up to its last real token; what stands behind it stays there."""
    steps = torch.arange(x.shape[1], device=x.device)
    mirrored = last.unsqueeze(1) - steps
    order = torch.where(mirrored >= 0, mirrored, steps).unsqueeze(-1)  # [B, T, 1]
    return x.gather(1, order.expand(-1, -1, x.shape[2]))


class Blocks(nn.Module):
    """Transformer blocks (Vaswani et al. 2017), each normed before it reads (Xiong et al. 2020), and a last norm."""

    def __init__(self, dim: int, num_layers: int, num_heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        if dim % num_heads:
            raise ConfigError(f"dim={dim}: cannot be divided among num_heads={num_heads}")
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, num_heads, int(dim * mlp_ratio), dropout, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # [B, T, D] -> [B, T, D]
        """Read what is real."""
        padding = None if mask is None else ~mask
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padding)
        return self.norm(x)
