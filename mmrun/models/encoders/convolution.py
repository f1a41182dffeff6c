"""Shared parts of convolutional encoders."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError


def check_blocks(channels: Sequence[int], kernels: Sequence[int]) -> None:
    """Check that there is one kernel per block, and that kernels are odd, so that padding keeps the size.

    Args:
        channels: of each block's output.
        kernels: of each block, in pixels or steps.

    Raises:
        ConfigError: the lists differ in length, or a kernel is even.
    """
    if len(channels) != len(kernels):
        raise ConfigError(f"channels={list(channels)} and kernels={list(kernels)}: give one of each per block")
    if any(kernel % 2 == 0 for kernel in kernels):
        raise ConfigError(f"kernels={list(kernels)}: kernel sizes must be odd")


class Convolutions(nn.Sequential):
    """Blocks of convolution, max pooling, batch norm (Ioffe & Szegedy, 2015) and ReLU; each halves height and width.

    Pooling comes before the norm, which then has less to compute. Tensors are channels-last: on a CPU that halves the
    time of a step, most of which is pooling.

    Args:
        in_channels: of the input.
        channels: of each block's output.
        kernels: of each block, odd.

    Raises:
        ConfigError: see `check_blocks`.
    """

    def __init__(self, in_channels: int, channels: Sequence[int], kernels: Sequence[int]) -> None:
        check_blocks(channels, kernels)
        super().__init__()
        for (before, after), kernel in zip(pairwise([in_channels, *channels]), kernels, strict=True):
            block = nn.Sequential(
                nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False),
                nn.MaxPool2d(2, ceil_mode=True),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            self.append(block)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: [B, in_channels, H, W].

        Returns:
            [B, channels[-1], H', W']; each block halves height and width, rounded up.
        """
        x = x.to(memory_format=torch.channels_last)
        for block in self:
            x = block(x)
        return x
