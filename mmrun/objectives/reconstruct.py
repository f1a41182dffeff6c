"""Images: recover what was hidden and made noisy."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.objectives.pretext import GridDecoder, Pretext, checked_share, hidden_blocks
from mmrun.types import Features


class Reconstruct(Pretext):
    """A denoising autoencoder (Vincent et al., 2010) that also hides blocks (He et al., 2022).

    What is wanted is the whole image less its own mean and deviation, so that dark and bright ones count the same.
    """

    def __init__(
        self,
        dim: int,
        in_channels: int,
        image_size: int,
        ratio: float = 0.5,
        grid: int = 8,
        noise: float = 0.1,
        resolution: int = 64,
    ) -> None:
        super().__init__()
        self.ratio = checked_share(ratio, "image")
        self.grid = grid
        self.noise = noise
        self.size = min(image_size, resolution)
        self.decoder = GridDecoder(dim, in_channels, self.size, self.size)

    def corrupt(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:  # [B, C, H, W], [B]
        """Hide blocks behind the image's mean colour, add noise everywhere."""
        mean = x.mean((2, 3), keepdim=True)
        hidden = hidden_blocks(x, self.ratio, (self.grid, self.grid), tuple(x.shape[2:]))
        return (torch.where(hidden, mean, x) + self.noise * torch.randn_like(x)).clamp(0, 1), x

    def loss(self, features: Features, wanted: Tensor) -> Tensor:  # [B]
        """Half the mean squared error of the standardised image."""
        small = F.interpolate(wanted.float(), (self.size, self.size), mode="area")
        deviation, mean = torch.std_mean(small, (1, 2, 3), keepdim=True)
        error = self.decoder(features.pooled) - (small - mean) / (deviation + 0.01)  # 0.01: a plain image has none
        return 0.5 * error.square().mean((1, 2, 3))
