"""A fusion for token sequences that run side by side: sensors, sound and film of one event."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions import align as aligners
from mmrun.models.fusions.presence import project_tokens, projections
from mmrun.types import Features, Fusion


class Cnn(Fusion):
    """Convolutions over all modalities at once, then the maximum over time (as Kim, 2014, does for one sequence).

    The tokens of each are first brought to `length` places, and their channels stacked. A missing modality is zeros.
    """

    def __init__(
        self,
        dims: dict[str, int],
        dim: int = 128,
        align: str = "linear",
        length: int = 16,
        num_heads: int = 4,
        kernel_size: int = 3,
        num_layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.project = projections(dims, dim)
        self.align = nn.ModuleDict({name: _aligner(align, length, dim, num_heads) for name in dims})
        widths = [dim * len(dims)] + [dim] * num_layers
        self.convs = nn.ModuleList(
            nn.Conv1d(before, after, kernel_size, padding="same") for before, after in itertools.pairwise(widths)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        channels = []
        for name, (tokens, mask) in project_tokens(self.project, features, present).items():
            real = mask.any(1)[:, None, None]
            channels.append(torch.where(real, self.align[name](tokens, mask), 0.0))
        x = torch.cat(channels, dim=2).transpose(1, 2)  # [B, M * dim, length]
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.dropout(x.amax(2))


def _aligner(method: str, length: int, dim: int, num_heads: int) -> nn.Module:
    if method == "nearest":
        return aligners.Nearest(length)
    if method == "linear":
        return aligners.Linear(length)
    if method == "attention":
        return aligners.Attention(length, dim, num_heads)
    raise ConfigError(f"fusion.align: '{method}' is none of nearest, linear, attention")
