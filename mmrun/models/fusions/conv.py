"""Convolutional fusion for token sequences that run in parallel: sensors, sound and video of one event."""

import itertools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions import align as aligners
from mmrun.models.fusions.presence import build_projections, project_tokens
from mmrun.types import Features, Fusion
from mmrun.values import Depth, ShareBelow1, Width


class Cnn(Fusion):
    """Convolve the aligned tokens of all modalities, then take the maximum over time (after Kim, 2014).

    The tokens of each modality are resampled to L positions, and their channels are stacked. A missing modality is
    zeros.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the channels of each modality and of each layer, and the width of the fused vector.
        align: nearest, linear or attention: how sequences are resampled.
        length: L, the positions after resampling.
        num_heads: attention heads; used with align=attention only.
        kernel_size: of the convolutions, in positions.
        num_layers: convolutions.
        dropout: of the fused vector.

    Raises:
        ConfigError: `align` is not one of these.
    """

    def __init__(
        self,
        dims: dict[str, int],
        dim: Width = 128,
        align: Literal["nearest", "linear", "attention"] = "linear",
        length: Width = 16,
        num_heads: Width = 4,
        kernel_size: Width = 3,
        num_layers: Depth = 2,
        dropout: ShareBelow1 = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.project = build_projections(dims, dim)
        self.align = nn.ModuleDict({name: _build_aligner(align, length, dim, num_heads) for name in dims})
        self.convs = nn.ModuleList()
        for in_channels, out_channels in itertools.pairwise([dim * len(dims)] + [dim] * num_layers):
            self.convs.append(nn.Conv1d(in_channels, out_channels, kernel_size, padding="same"))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, tokens [B, T, D_m]; without them, the pooled vector is the only token.
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        channels = []
        for name, (tokens, mask) in project_tokens(self.project, features, present).items():
            has_tokens = mask.any(1)[:, None, None]
            channels.append(torch.where(has_tokens, self.align[name](tokens, mask), 0.0))
        x = torch.cat(channels, dim=2).transpose(1, 2)  # [B, M * D, L]
        for conv in self.convs:
            x = F.relu(conv(x))
        fused: Tensor = self.dropout(x.amax(2))
        return fused


def _build_aligner(method: str, length: int, dim: int, num_heads: int) -> nn.Module:
    if method == "nearest":
        return aligners.Nearest(length)
    if method == "linear":
        return aligners.Linear(length)
    if method == "attention":
        return aligners.Attention(length, dim, num_heads)
    raise ConfigError(f"fusion.align: '{method}' is none of nearest, linear, attention")
