"""Shared parts of sequence encoders: masks, pooling over real tokens, recurrent cells, transformer blocks.

Sequences are padded at the end. A mask is [B, T] bool, True where the token is real.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.types import Features

Cell = Literal["gru", "lstm"]


def unmask_empty_rows(mask: Tensor) -> Tensor:
    """Mark the first token of an empty row as real, so that a missing modality gives finite numbers, never NaN.

    Args:
        mask: [B, T] bool.

    Returns:
        [B, T] bool, with at least one True per row.
    """
    first = torch.arange(mask.shape[1], device=mask.device) == 0
    return torch.where(mask.any(dim=1, keepdim=True), mask, first)


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Average the real tokens of each row.

    Args:
        tokens: [B, T, D].
        mask: [B, T] bool, with at least one True per row.

    Returns:
        [B, D].
    """
    weight = mask.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1)


def find_last_tokens(mask: Tensor) -> Tensor:
    """Find the last real token of each row.

    Args:
        mask: [B, T] bool.

    Returns:
        Positions [B] int64.
    """
    return (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(dim=1)


def select_tokens(tokens: Tensor, positions: Tensor) -> Tensor:
    """Select one token of each row.

    Args:
        tokens: [B, T, D].
        positions: [B] int64.

    Returns:
        [B, D].
    """
    return tokens.gather(1, positions.view(-1, 1, 1).expand(-1, -1, tokens.shape[2])).squeeze(1)


class Recurrent(nn.Module):
    """GRU (Cho et al., 2014) or LSTM (Hochreiter & Schmidhuber, 1997) that ends at each row's last real token.

    Each direction is a stack of its own; the backward one reads the reversed row. Packed sequences would compute the
    same, but need the lengths on the CPU, and so wait for the device at every step.

    Args:
        cell: gru or lstm.
        in_dim: width of the input.
        dim: D, the width of the output; half of it for each direction if bidirectional.
        num_layers: of each direction.
        bidirectional: False reads forward only.
        dropout: between layers.

    Raises:
        ConfigError: `cell` is neither, or `dim` is odd and the network is bidirectional.
    """

    def __init__(self, cell: Cell, in_dim: int, dim: int, num_layers: int, bidirectional: bool, dropout: float) -> None:
        super().__init__()
        if cell not in ("gru", "lstm"):
            raise ConfigError(f"cell={cell!r}: a recurrent encoder has gru or lstm cells")
        if bidirectional and dim % 2:
            raise ConfigError(
                f"dim={dim}: each direction has half of it, so it must be even; or set bidirectional=false"
            )
        network = nn.GRU if cell == "gru" else nn.LSTM
        width = dim // 2 if bidirectional else dim
        layer_dropout = dropout if num_layers > 1 else 0.0
        self.forwards = network(in_dim, width, num_layers, batch_first=True, dropout=layer_dropout)
        self.backwards = None
        if bidirectional:
            self.backwards = network(in_dim, width, num_layers, batch_first=True, dropout=layer_dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Features:
        """Read each row up to its last real token.

        Args:
            x: [B, T, in_dim].
            mask: [B, T] bool, with at least one True per row.

        Returns:
            Pooled [B, D], the last state of each direction, and tokens [B, T, D], the states at each position.
        """
        last = find_last_tokens(mask)
        tokens = self.forwards(x)[0]
        pooled = select_tokens(tokens, last)
        if self.backwards is not None:
            backward_tokens = _reverse(self.backwards(_reverse(x, last))[0], last)
            tokens = torch.cat([tokens, backward_tokens], dim=-1)
            pooled = torch.cat([pooled, backward_tokens[:, 0]], dim=-1)
        return Features(pooled, tokens, mask)


def _reverse(x: Tensor, last: Tensor) -> Tensor:  # [B, T, D], [B] -> [B, T, D]
    """Reverse each row up to its last real token; the padding stays in place."""
    steps = torch.arange(x.shape[1], device=x.device)
    reversed_steps = last.unsqueeze(1) - steps
    order = torch.where(reversed_steps >= 0, reversed_steps, steps).unsqueeze(-1)  # [B, T, 1]
    return x.gather(1, order.expand(-1, -1, x.shape[2]))


class Blocks(nn.Module):
    """Pre-norm transformer blocks (Vaswani et al., 2017; Xiong et al., 2020) and a final layer norm.

    Args:
        dim: D.
        num_layers: blocks.
        num_heads: must divide `dim`.
        mlp_ratio: width of the MLP's hidden layer, as a multiple of `dim`.
        dropout: of the attention weights, the MLP and both outputs.

    Raises:
        ConfigError: `num_heads` does not divide `dim`.
    """

    def __init__(self, dim: int, num_layers: int, num_heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        if dim % num_heads:
            raise ConfigError(f"dim={dim}: not divisible by num_heads={num_heads}")
        self.layers = nn.ModuleList()
        for _ in range(num_layers):
            layer = nn.TransformerEncoderLayer(
                dim, num_heads, int(dim * mlp_ratio), dropout, "gelu", batch_first=True, norm_first=True
            )
            self.layers.append(layer)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the blocks.

        Args:
            x: [B, T, D].
            mask: [B, T] bool, True where x is real; None: it is real throughout.

        Returns:
            [B, T, D].
        """
        output: Tensor = self.norm(self.forward_layers(x, mask)[-1])
        return output

    def forward_layers(self, x: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """Apply the blocks, and return the output of each, before the final norm.

        Args:
            x: [B, T, D].
            mask: see `forward`.

        Returns:
            [B, T, D] of each block.
        """
        padding = None if mask is None else ~mask
        outputs = []
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padding)
            outputs.append(x)
        return outputs
