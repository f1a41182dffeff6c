"""Video encoders for training from scratch, and any image encoder applied to each frame."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.convolution import check_blocks
from mmrun.models.encoders.sequence import Blocks, Recurrent
from mmrun.types import Encoder, Features, Input
from mmrun.values import Depth, Width, Widths

Temporal = Literal["mean", "attention", "gru"]


class FrameEncoder(Encoder):
    """An image encoder on each frame, and what joins their vectors over time.

    Args:
        frame: builds the image encoder.
        num_frames: T.
        temporal: mean: the mean of the frames' vectors, whatever their order; gru: a bidirectional GRU reads them (Cho
            et al., 2014); attention: they attend to each other, with learned positions (Vaswani et al., 2017).
        num_layers: of the GRU or of attention.
        num_heads: of attention; must divide D.

    Raises:
        ConfigError: `temporal` is none of these, `frame` is no image encoder, or its D does not fit.
    """

    kind = "video"

    def __init__(
        self,
        frame: Callable[[], Encoder],
        num_frames: int,
        temporal: Temporal = "gru",
        num_layers: Depth = 1,
        num_heads: Width = 4,
    ) -> None:
        super().__init__()
        self.frame = frame()
        if not isinstance(self.frame, Encoder) or self.frame.kind != "image":
            raise ConfigError(f"frame: {type(self.frame).__name__} encodes no images; choose an image encoder")
        self.dim = self.frame.dim
        self.temporal = _build_temporal(temporal, self.dim, num_frames, num_layers, num_heads)

    def fit(self, batches: Iterable[Input]) -> None:
        """Fit the image encoder to all frames; see `Encoder.fit`."""
        self.frame.fit(cast(Tensor, x).flatten(0, 1) for x in batches)

    def forward(self, x: Tensor) -> Features:
        """Encode.

        Args:
            x: videos [B, T, C, H, W], 0..1.

        Returns:
            Pooled [B, D], and a token for each frame [B, T, D].
        """
        frames = self.frame(x.flatten(0, 1)).pooled.unflatten(0, x.shape[:2])  # [B, T, D]
        features: Features = self.temporal(frames)
        return features


class MeanOverTime(nn.Module):
    """The mean of the frames' vectors."""

    def forward(self, frames: Tensor) -> Features:
        """Return the mean [B, D], and the vectors themselves as tokens.

        Args:
            frames: [B, T, D].
        """
        return Features(frames.mean(1), frames)


class AttentionOverTime(nn.Module):
    """Transformer blocks over the frames' vectors and learned positions.

    Args:
        dim: D.
        num_frames: T.
        num_layers: blocks.
        num_heads: must divide `dim`.

    Raises:
        ConfigError: it does not.
    """

    def __init__(self, dim: int, num_frames: int, num_layers: int, num_heads: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(num_frames, dim) * 0.02)
        self.blocks = Blocks(dim, num_layers, num_heads, mlp_ratio=2.0, dropout=0.0)

    def forward(self, frames: Tensor) -> Features:
        """Return tokens that have attended to each other, and their mean [B, D].

        Args:
            frames: [B, T, D].
        """
        everything = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
        tokens = self.blocks(frames + self.positions, everything)
        return Features(tokens.mean(1), tokens)


class GruOverTime(nn.Module):
    """A bidirectional GRU over the frames' vectors; its last states are pooled.

    Args:
        dim: D, even.
        num_layers: of each direction.

    Raises:
        ConfigError: `dim` is odd.
    """

    def __init__(self, dim: int, num_layers: int) -> None:
        super().__init__()
        self.recurrent = Recurrent("gru", dim, dim, num_layers, bidirectional=True, dropout=0.0)

    def forward(self, frames: Tensor) -> Features:
        """Return the last states of both directions [B, D], and the states at each frame as tokens.

        Args:
            frames: [B, T, D].
        """
        everything = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
        features: Features = self.recurrent(frames, everything)
        return Features(features.pooled, features.tokens)


def _build_temporal(temporal: Temporal, dim: int, num_frames: int, num_layers: int, num_heads: int) -> nn.Module:
    if temporal == "mean":
        return MeanOverTime()
    if temporal == "attention":
        return AttentionOverTime(dim, num_frames, num_layers, num_heads)
    if temporal == "gru":
        return GruOverTime(dim, num_layers)
    raise ConfigError(f"temporal={temporal!r}: choose mean, attention or gru")


class FrameMaxPool(nn.Module):
    """Max pooling that halves height and width of each frame, rounded up.

    Unlike `nn.MaxPool3d`, its backward pass returns the same bits each time on a GPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Pool.

        Args:
            x: [B, C, T, H, W].

        Returns:
            [B, C, T, H', W'].
        """
        pooled: Tensor = F.max_pool2d(x.flatten(1, 2), 2, ceil_mode=True)
        by_frame: Tensor = pooled.unflatten(1, x.shape[1:3])
        return by_frame


class Cnn3d(Encoder):
    """Convolutions over time and space (C3D: Tran et al., 2015); the cells of the last feature map are the tokens.

    Blocks halve height and width and keep the number of frames.

    Args:
        in_channels: C.
        channels: of each block; the last is D.
        kernels: of each block, in frames and pixels, odd.

    Raises:
        ConfigError: see `convolution.check_blocks`.
    """

    kind = "video"

    def __init__(self, in_channels: int, channels: Widths = (16, 32, 64), kernels: Widths = (3, 3, 3)) -> None:
        super().__init__()
        check_blocks(channels, kernels)
        self.dim = channels[-1]
        self.blocks = nn.Sequential()
        for (before, after), kernel in zip(pairwise([in_channels, *channels]), kernels, strict=True):
            block = nn.Sequential(
                nn.Conv3d(before, after, kernel, padding=kernel // 2, bias=False),
                FrameMaxPool(),
                nn.BatchNorm3d(after),
                nn.ReLU(),
            )
            self.blocks.append(block)

    def forward(self, x: Tensor) -> Features:
        """Encode.

        Args:
            x: videos [B, T, C, H, W], 0..1.

        Returns:
            Pooled [B, D] and tokens [B, TH'W', D].
        """
        feature_map = self.blocks((x.transpose(1, 2) - 0.5) / 0.5)  # [B, D, T, H', W']
        tokens = feature_map.flatten(2).transpose(1, 2)
        return Features(tokens.mean(1), tokens)
