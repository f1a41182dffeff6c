"""Small convolutional image encoders for training from scratch; fast enough for a CPU."""

from itertools import pairwise

from torch import Tensor, nn

from mmrun.models.encoders.convolution import Convolutions, check_blocks
from mmrun.types import Encoder, Features
from mmrun.values import Width, Widths


class Cnn(Encoder):
    """A plain convolutional network; the cells of its last feature map are the tokens, their mean is pooled.

    channels=[6, 12, 24, 48], kernels=[5, 3, 3, 3] is the LeNet of the AV-MNIST benchmark (after LeCun et al., 1998).

    Args:
        in_channels: C.
        channels: of each block; each halves height and width. The last is D.
        kernels: of each block, in pixels, odd.

    Raises:
        ConfigError: see `convolution.check_blocks`.
    """

    kind = "image"

    def __init__(self, in_channels: int, channels: Widths = (16, 32, 64), kernels: Widths = (3, 3, 3)) -> None:
        super().__init__()
        self.dim = channels[-1]
        self.blocks = Convolutions(in_channels, channels, kernels)

    def forward(self, x: Tensor) -> Features:
        """Encode.

        Args:
            x: images [B, C, H, W], 0..1.

        Returns:
            Pooled [B, D] and tokens [B, H'W', D].
        """
        feature_map = self.blocks((x - 0.5) / 0.5)  # [B, D, H', W']
        tokens = feature_map.flatten(2).transpose(1, 2)  # [B, H'W', D]
        return Features(tokens.mean(dim=1), tokens)


class Bottleneck(Encoder):
    """Strided convolutions into one vector: the encoder of a convolutional autoencoder (Masci et al., 2011).

    It has no tokens: all that a decoder reconstructs has to pass through the vector.

    Args:
        in_channels: C.
        image_size: H = W, in pixels.
        channels: of each convolution; each halves height and width.
        kernels: of each convolution, in pixels, odd.
        dim: D.

    Raises:
        ConfigError: see `convolution.check_blocks`.
    """

    kind = "image"

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        channels: Widths = (32, 64, 128),
        kernels: Widths = (3, 3, 3),
        dim: Width = 128,
    ) -> None:
        super().__init__()
        check_blocks(channels, kernels)
        self.dim = dim
        self.blocks = nn.Sequential()
        for (before, after), kernel in zip(pairwise([in_channels, *channels]), kernels, strict=True):
            block = nn.Sequential(
                nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            self.blocks.append(block)
        final_size = -(-image_size // 2 ** len(channels))  # each convolution halves it, rounded up
        self.narrow = nn.Linear(channels[-1] * final_size**2, dim)

    def forward(self, x: Tensor) -> Features:
        """Encode.

        Args:
            x: images [B, C, H, W], 0..1, H = W = `image_size`.

        Returns:
            Pooled [B, D], no tokens.
        """
        return Features(self.narrow(self.blocks((x - 0.5) / 0.5).flatten(1)))
