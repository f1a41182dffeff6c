"""Small convolutional image encoders that learn from scratch, also on a CPU."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from mmrun.models.encoders.convolution import Convolutions, check_blocks
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


class Bottleneck(Encoder):
    """Strided convolutions into one vector, as in a convolutional autoencoder (Masci et al. 2011).

    There are no tokens: what a decoder is to make a picture of has to pass through the vector.
    """

    kind = "image"

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        channels: Sequence[int] = (32, 64, 128),
        kernels: Sequence[int] = (3, 3, 3),
        dim: int = 128,
    ) -> None:
        super().__init__()
        check_blocks(channels, kernels)
        self.dim = dim
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                )
                for (before, after), kernel in zip(pairwise([in_channels, *channels]), kernels, strict=True)
            )
        )
        side = -(-image_size // 2 ** len(channels))  # each convolution halves it, rounded up
        self.narrow = nn.Linear(channels[-1] * side**2, dim)

    def forward(self, x: Tensor) -> Features:  # [B, C, H, W]
        """Encode."""
        return Features(self.narrow(self.blocks((x - 0.5) / 0.5).flatten(1)))
