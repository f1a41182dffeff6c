"""What convolutional encoders share."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError


def check_blocks(channels: Sequence[int], kernels: Sequence[int]) -> None:
    """Refuse lists that do not pair up, and even kernels, which would not keep the size that pooling then halves."""
    if len(channels) != len(kernels):
        raise ConfigError(f"channels={list(channels)} and kernels={list(kernels)}: give each block one of both")
    if any(kernel % 2 == 0 for kernel in kernels):
        raise ConfigError(f"kernels={list(kernels)}: they have a middle only where they are odd")


class Convolutions(nn.Sequential):
    """Blocks that each halve height and width, rounded up. Each pools before its norm, which then has less to do.

    Channels stand last in memory: on a CPU that halves the time of a step, most of which was pooling.
    """

    def __init__(self, in_channels: int, channels: Sequence[int], kernels: Sequence[int]) -> None:
        check_blocks(channels, kernels)
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
