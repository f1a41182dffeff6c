"""What recovers one modality that was spoiled: the contract, and what several of them need."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.types import Features, Input


class Pretext(Protocol):
    """What a module of one kind does, in two phases: all modalities are spoiled before any is encoded."""

    def corrupt(self, x: Input) -> tuple[Input, Input]:
        """Give what the encoder sees and what is to be recovered; `x` itself stays as it is."""
        ...

    def loss(self, features: Features, wanted: Input) -> Tensor:  # [B]
        """Tell for each row how far from it the features are."""
        ...


class GridDecoder(nn.Module):
    """Grows a pooled vector into a grid, doubling its sides from 4 or less: image, spectrogram or (1 high) series."""

    def __init__(self, dim: int, channels: int, height: int, width: int, hidden: int = 64) -> None:
        super().__init__()
        sizes = [(height, width)]
        while max(sizes[0]) > 4:
            sizes.insert(0, (-(-sizes[0][0] // 2), -(-sizes[0][1] // 2)))
        self.start = (hidden, *sizes[0])
        self.seed = nn.Linear(dim, hidden * sizes[0][0] * sizes[0][1])
        blocks: list[nn.Module] = []
        for size in sizes[1:]:
            narrower = max(hidden // 2, 8)
            conv = nn.Conv2d(hidden, narrower, 3, padding=1)
            blocks += [nn.GroupNorm(1, hidden), nn.GELU(), nn.Upsample(size), conv]
            hidden = narrower
        self.grow = nn.Sequential(
            *blocks, nn.GroupNorm(1, hidden), nn.GELU(), nn.Conv2d(hidden, channels, 3, padding=1)
        )

    def forward(self, pooled: Tensor) -> Tensor:  # [B, D] -> [B, C, H, W]
        """Decode each row."""
        return self.grow(self.seed(pooled).unflatten(1, self.start)).float()


def hidden_blocks(x: Tensor, ratio: float, grid: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """Draw blocks of a coarse grid, each with probability `ratio`: [B, 1, *size] bool, True where hidden."""
    drawn = torch.rand(len(x), 1, *grid, device=x.device) < ratio
    return F.interpolate(drawn.float(), size) > 0.5


def checked_share(ratio: float, kind: str) -> float:
    """Refuse a ratio that is no share."""
    if not 0 <= ratio <= 1:
        raise ConfigError(f"objective.by_kind.{kind}.ratio: {ratio} is not between 0 and 1")
    return ratio
