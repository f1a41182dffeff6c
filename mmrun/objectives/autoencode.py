"""Images: say the whole of it from the pooled vector alone, nothing hidden."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.pretext import GridDecoder, Pretext, checked_positive
from mmrun.types import Features


class Autoencoder(Pretext):
    """An autoencoder (Hinton & Salakhutdinov, 2006) of the pixels as they are, `resolution` wide at most."""

    def __init__(self, dim: int, in_channels: int, image_size: int, resolution: int = 64) -> None:
        super().__init__()
        self.size = min(image_size, resolution)
        self.decoder = GridDecoder(dim, in_channels, self.size, self.size)

    def loss(self, features: Features, wanted: Tensor) -> Tensor:  # [B]
        """Half the squared distance, 0.5 ||x - x_hat||^2."""
        return 0.5 * _squared_distance(self.decoder(features.pooled), wanted)


class Vae(Pretext):
    """A variational autoencoder (Kingma & Welling, 2014): the pooled vector tells mean and log-variance of a code.

    Codes have a standard normal prior; the decoder says a picture's pixels up to a normal deviation that is fixed.
    """

    def __init__(
        self,
        dim: int,
        in_channels: int,
        image_size: int,
        latent_dim: int = 32,
        deviation: float = 0.1,
        resolution: int = 64,
    ) -> None:
        super().__init__()
        self.deviation = checked_positive(deviation, "image", "deviation")
        self.size = min(image_size, resolution)
        self.posterior = nn.Linear(dim, 2 * latent_dim)
        self.decoder: nn.Module = GridDecoder(latent_dim, in_channels, self.size, self.size)

    def loss(self, features: Features, wanted: Tensor) -> Tensor:  # [B]
        """Minus the evidence's lower bound in nats, one code drawn: what the code costs, and what it leaves open."""
        mean, log_variance = self.posterior(features.pooled).float().chunk(2, -1)  # [B, L]
        code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        distance = _squared_distance(self.decoder(code), wanted) / self.deviation**2
        num_pixels = wanted.shape[1] * self.size**2  # of all channels
        return divergence + 0.5 * (distance + num_pixels * math.log(2 * math.pi * self.deviation**2))


def _squared_distance(decoded: Tensor, wanted: Tensor) -> Tensor:  # [B, C, H, W], [B, C, larger, larger] -> [B]
    small = F.interpolate(wanted.float(), decoded.shape[2:], mode="area")
    return (decoded - small).square().sum((1, 2, 3))
