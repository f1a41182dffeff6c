"""A small convolutional image encoder that learns from scratch, also on a CPU."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.types import Encoder, Features


class Cnn(Encoder):
    """Convolutions in a row; the cells of the last feature map are the tokens, their mean is the pooled vector.

    channels=[6, 12, 24, 48], kernels=[5, 3, 3, 3] is the LeNet of the AV-MNIST benchmark (after LeCun et al. 1998).
    """

    kind = "image"

    def __init__(
        self, in_channels: int, channels: Sequence[int] = (16, 32, 64), kernels: Sequence[int] = (3, 3, 3)
    ) -> None:
        super().__init__()
        self.dim = channels[-1]
        self.blocks = Convolutions(in_channels, channels, kernels)

    def forward(self, x: Tensor) -> Features:  # [B, C, H, W]
        """Encode."""
        picture = self.blocks((x - 0.5) / 0.5)  # [B, D, H', W']
        tokens = picture.flatten(2).transpose(1, 2)  # [B, H'W', D]
        return Features(tokens.mean(dim=1), tokens)


class Convolutions(nn.Sequential):
    """Blocks that each halve height and width, rounded up. Each pools before its norm, which then has less to do.

    Channels stand last in memory: on a CPU that halves the time of a step, most of which was pooling.
    """

    def __init__(self, in_channels: int, channels: Sequence[int], kernels: Sequence[int]) -> None:
        if len(channels) != len(kernels):
            raise ConfigError(f"channels={list(channels)} and kernels={list(kernels)}: give each block one of both")
        super().__init__(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False),
                    nn.MaxPool2d(2, ceil_mode=True),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                )
                for (before, after), kernel in zip(pairwise([in_channels, *channels]), kernels, strict=True)
            )
        )

    def forward(self, x: Tensor) -> Tensor:  # [B, in_channels, H, W] -> [B, channels[-1], H', W']
        """Convolve."""
        return super().forward(x.to(memory_format=torch.channels_last))
