"""Images: reconstruct the whole image from its pooled vector; nothing is hidden."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.pretext import GridDecoder, Pretext, check_positive
from mmrun.types import Features
from mmrun.values import PositiveFloat, Width


class Autoencoder(Pretext):
    """A plain autoencoder (Hinton & Salakhutdinov, 2006).

    Args:
        dim: width of the encoder's features.
        in_channels: C, of the images.
        image_size: side of the images, in pixels.
        resolution: larger images are reconstructed at this size.
    """

    def __init__(self, dim: int, in_channels: int, image_size: int, resolution: Width = 64) -> None:
        super().__init__()
        self.size = min(image_size, resolution)
        self.decoder = GridDecoder(dim, in_channels, self.size, self.size)

    def loss(self, features: Features, target: Tensor) -> Tensor:
        """Return half the squared distance, 0.5 ||x - x_hat||^2, summed over pixels, [B].

        Args:
            features: pooled [B, D].
            target: the images [B, C, H, W].
        """
        return 0.5 * _squared_distance(self.decoder(features.pooled), target)


class Vae(Pretext):
    """A variational autoencoder (Kingma & Welling, 2014).

    The pooled vector predicts mean and log-variance of a code, whose prior is standard normal. The decoder predicts the
    mean of each pixel, whose deviation is fixed.

    Args:
        dim: width of the encoder's features.
        in_channels: C, of the images.
        image_size: side of the images, in pixels.
        latent_dim: L, width of a code.
        deviation: of a pixel, 0..1; a larger one gives poorer, smoother codes.
        resolution: larger images are reconstructed at this size.

    Raises:
        ConfigError: `deviation` is not above 0.
    """

    def __init__(
        self,
        dim: int,
        in_channels: int,
        image_size: int,
        latent_dim: Width = 32,
        deviation: PositiveFloat = 0.1,
        resolution: Width = 64,
    ) -> None:
        super().__init__()
        self.deviation = check_positive(deviation, "image", "deviation")
        self.size = min(image_size, resolution)
        self.posterior = nn.Linear(dim, 2 * latent_dim)
        self.decoder: nn.Module = GridDecoder(latent_dim, in_channels, self.size, self.size)

    def loss(self, features: Features, target: Tensor) -> Tensor:
        """Return the negative evidence lower bound in nats, with one drawn code per image, [B].

        Args:
            features: pooled [B, D].
            target: the images [B, C, H, W].
        """
        parameters: Tensor = self.posterior(features.pooled).float()
        mean, log_variance = parameters.chunk(2, -1)  # [B, L]
        code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        distance = _squared_distance(self.decoder(code), target) / self.deviation**2
        num_pixels = target.shape[1] * self.size**2  # of all channels
        return divergence + 0.5 * (distance + num_pixels * math.log(2 * math.pi * self.deviation**2))


def _squared_distance(decoded: Tensor, target: Tensor) -> Tensor:  # [B, C, H, W], [B, C, larger, larger] -> [B]
    resized = F.interpolate(target.float(), decoded.shape[2:], mode="area")
    return (decoded - resized).square().sum((1, 2, 3))
