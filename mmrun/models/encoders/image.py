"""A small convolutional image encoder that learns from scratch, also on a CPU."""

from collections.abc import Sequence

from torch import Tensor

from mmrun.models.encoders.convolution import Convolutions
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
