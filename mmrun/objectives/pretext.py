"""What one encoder learns from its modality alone: the contract, and what several of them need."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.types import Features

View = TypeVar("View", Tensor, dict[str, Tensor])


class Pretext(nn.Module):
    """What a module of one kind does, in two phases: all modalities are spoiled before any is encoded."""

    alone = False  # True: the fused vector would give away what is to be found, so that it may not help

    loss: Callable[[Features, Any], Tensor]  # the features, what is wanted -> [B], how far each row is from it

    def check(self, encoder: nn.Module, key_path: str) -> None:
        """Refuse an encoder, the one at the YAML key `where`, that cannot learn this; any can learn most."""

    def corrupt(self, x: Any, present: Tensor) -> tuple[Any, Any]:  # Input, [B] bool
        """Return the corrupted input and the target, here the input itself for both; `x` is not changed.

        What compares rows with each other needs to know which are there; it may show the encoder two views of each,
        one after the other: [2B].
        """
        return x, x


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


def both(first: View, second: View) -> View:
    """Lay two views one after the other: [2B]."""
    if isinstance(first, dict):
        return {name: torch.cat([part, second[name]]) for name, part in first.items()}
    return torch.cat([first, second])


def checked_share(share: float, kind: str, key: str = "ratio") -> float:
    """Refuse a number that is no share."""
    if not 0 <= share <= 1:
        raise ConfigError(f"objective.by_kind.{kind}.{key}: {share} is not between 0 and 1")
    return share


def checked_positive(value: float, kind: str, key: str) -> float:
    """Refuse what is not above 0."""
    if value <= 0:
        raise ConfigError(f"objective.by_kind.{kind}.{key}: {value} is not above 0")
    return value
