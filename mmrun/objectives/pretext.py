"""The contract of pretexts, what one encoder learns from its modality alone, and what several of them share."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.types import Features

View = TypeVar("View", Tensor, dict[str, Tensor])


class Pretext(nn.Module):
    """Base class of pretexts. It has two phases, so that all modalities are corrupted before any is encoded.

    Attributes:
        alone: True where the fused vector already contains what has to be predicted, so that it cannot be used.
        moving_target: True where what has to be predicted changes with training, so that the losses of two steps
            cannot be compared.
        loss: (features, target) -> [B], the loss of each row; `target` is what `corrupt` returned.
    """

    alone = False
    moving_target = False

    loss: Callable[[Features, Any], Tensor]

    def check(self, encoder: nn.Module, key_path: str) -> None:
        """Reject an encoder that cannot learn this pretext; by default all can.

        Args:
            encoder: to be trained.
            key_path: of the encoder in the config, for the message.

        Raises:
            ConfigError: the encoder cannot learn it.
        """

    def attach(self, encoder: nn.Module) -> None:
        """Prepare for an encoder, once, before training; by default there is nothing to prepare.

        Args:
            encoder: to be trained; it must not become a part of the pretext.
        """

    def set_progress(self, progress: float) -> None:
        """Follow a schedule, before each optimiser step; by default there is none.

        Args:
            progress: share of the stage's budget that is spent, 0..1.
        """

    def update(self, encoder: nn.Module) -> None:
        """Follow the encoder after each optimiser step; by default nothing follows it.

        Args:
            encoder: with its current weights.
        """

    def corrupt(self, x: Any, present: Tensor) -> tuple[Any, Any]:
        """Return the corrupted input and the target; by default both are the input itself.

        Args:
            x: the input of one modality; it is not changed.
            present: [B] bool, which rows have the modality; pretexts that compare rows need it.

        Returns:
            What the encoder reads, B rows or several views of all rows one after the other [VB], and what `loss` gets.
        """
        return x, x


class ScheduledPretext(Pretext):
    """Base class of pretexts with a schedule: they know the share of the stage's budget that is spent.

    Attributes:
        progress: that share, 0..1, on the device.
    """

    progress: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("progress", torch.zeros(()))

    def set_progress(self, progress: float) -> None:
        """Store the share of the budget that is spent."""
        self.progress.fill_(progress)

    def warm_up(self, first: float, last: float, share: float) -> Tensor:
        """Return a value that moves linearly during the first part of the stage.

        Args:
            first: value at the beginning.
            last: value after that part.
            share: of the stage, the length of that part; 0: there is none.
        """
        return first + (last - first) * (self.progress / max(share, 1e-6)).clamp(max=1)


class GridDecoder(nn.Module):
    """Decodes a pooled vector into a grid, whose sides it doubles step by step from 4 or less.

    Args:
        dim: D, width of the pooled vector.
        channels: C, of the grid.
        height: H of the grid; 1 for a series.
        width: W of the grid.
        hidden: channels of the first layer; each doubling halves them, down to 8.
    """

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

    def forward(self, pooled: Tensor) -> Tensor:
        """Decode each row in fp32: [B, D] -> [B, C, H, W]."""
        grid: Tensor = self.grow(self.seed(pooled).unflatten(1, self.start))
        return grid.float()


def draw_hidden_blocks(x: Tensor, ratio: float, grid: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """Draw which blocks of each row are hidden.

    Args:
        x: [B, ...]; gives number of rows and device.
        ratio: probability that a block is hidden.
        grid: number of blocks along each side.
        size: of the mask.

    Returns:
        [B, 1, *size] bool, True where hidden.
    """
    drawn = torch.rand(len(x), 1, *grid, device=x.device) < ratio
    return F.interpolate(drawn.float(), size) > 0.5


def draw_hidden_spans(real: Tensor, ratio: float, spans: int, longest: int | None = None) -> Tensor:
    """Draw which spans of time of each row are hidden, at least one that is not all padding.

    Args:
        real: [B, T] bool, True where a step is no padding.
        ratio: probability that a span is hidden.
        spans: number of equal spans that the longest row is cut into.
        longest: steps of that row, at least T: a batch of shorter ones may be cropped; None: T.

    Returns:
        [B, T] bool, True where hidden.
    """
    steps = real.shape[1]
    span = torch.arange(steps, device=real.device) * spans // (longest or steps)  # [T], the span of each step
    drawn = torch.rand(len(real), spans, device=real.device)[:, span]  # [B, T]
    lowest = drawn.masked_fill(~real, 2).amin(1, keepdim=True)
    return (drawn < ratio) | (drawn == lowest)


def concat_views(*views: View) -> View:
    """Concatenate V views of B rows into one input of V * B rows.

    Args:
        views: inputs of one kind and of the same shapes, tensors or their parts by name.
    """
    first = views[0]
    if isinstance(first, dict):
        return {name: torch.cat([view[name] for view in views]) for name in first}
    return torch.cat(views)


def check_share(share: float, kind: str, key: str = "ratio") -> float:
    """Return the value of a pretext's key, which must be between 0 and 1.

    Args:
        share: the value.
        kind: of the modality, for the message.
        key: of the pretext, for the message.

    Raises:
        ConfigError: it is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"objective.by_kind.{kind}.{key}: {share} is not between 0 and 1")
    return share


def check_positive(value: float, kind: str, key: str) -> float:
    """Return the value of a pretext's key, which must be above 0.

    Args:
        value: to check.
        kind: of the modality, for the message.
        key: of the pretext, for the message.

    Raises:
        ConfigError: it is not above 0.
    """
    if value <= 0:
        raise ConfigError(f"objective.by_kind.{kind}.{key}: {value} is not above 0")
    return value
