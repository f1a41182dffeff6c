"""Images: recover an image from a noisy one with hidden blocks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.objectives.pretext import GridDecoder, Pretext, check_share, draw_hidden_blocks
from mmrun.types import Features
from mmrun.values import NonNegativeFloat, PositiveShare, Width


class Reconstruct(Pretext):
    """A denoising autoencoder (Vincent et al., 2010) that also hides blocks (He et al., 2022).

    The target is the whole image, standardised by itself, so that dark and bright images count the same.

    Args:
        dim: width of the encoder's features.
        in_channels: C, of the images.
        image_size: side of the images, in pixels.
        ratio: probability that a block is hidden.
        grid: blocks along a side.
        noise: standard deviation of the noise, pixels being 0..1.
        resolution: larger images are recovered at this size.

    Raises:
        ConfigError: `ratio` is out of range.
    """

    def __init__(
        self,
        dim: int,
        in_channels: int,
        image_size: int,
        ratio: PositiveShare = 0.5,
        grid: Width = 8,
        noise: NonNegativeFloat = 0.1,
        resolution: Width = 64,
    ) -> None:
        super().__init__()
        self.ratio = check_share(ratio, "image")
        self.grid = grid
        self.noise = noise
        self.size = min(image_size, resolution)
        self.decoder = GridDecoder(dim, in_channels, self.size, self.size)

    def corrupt(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images with noise and blocks filled with their mean colour, and the images themselves.

        Args:
            x: [B, C, H, W].
            present: is not used.
        """
        mean = x.mean((2, 3), keepdim=True)
        hidden = draw_hidden_blocks(x, self.ratio, (self.grid, self.grid), tuple(x.shape[2:]))
        return (torch.where(hidden, mean, x) + self.noise * torch.randn_like(x)).clamp(0, 1), x

    def loss(self, features: Features, target: Tensor) -> Tensor:
        """Return half the mean squared error of the standardised image, [B].

        Args:
            features: pooled [B, D].
            target: the images [B, C, H, W].
        """
        resized = F.interpolate(target.float(), (self.size, self.size), mode="area")
        deviation, mean = torch.std_mean(resized, (1, 2, 3), keepdim=True)
        standardised = (resized - mean) / (deviation + 0.01)  # 0.01: images of one colour
        decoded: Tensor = self.decoder(features.pooled)
        return 0.5 * (decoded - standardised).square().mean((1, 2, 3))
