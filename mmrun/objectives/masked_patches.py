"""Images: recover the patches that were hidden, and nothing else."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.sequence import Blocks
from mmrun.objectives.pretext import Pretext, checked_share
from mmrun.types import Features

PREFIXES = (0, 1, 5)  # tokens before those of a grid: none, a class token, that and four registers


class MaskedAutoencoder(Pretext):
    """A masked autoencoder (He et al., 2022): most patches are hidden, a small transformer recovers their pixels.

    Any encoder can learn it: hidden patches are painted over with the image's mean colour rather than taken away.
    Tokens that form a grid tell what lies where; without them, the pooled vector stands in for each.
    N patches of P numbers each.
    """

    def __init__(
        self,
        dim: int,
        in_channels: int,
        image_size: int,
        ratio: float = 0.75,
        grid: int = 8,
        resolution: int = 64,
        decoder_dim: int = 128,
        num_layers: int = 1,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        if not 1 <= grid <= image_size:
            raise ConfigError(f"objective.by_kind.image.grid: {grid} patches do not fit into {image_size} pixels")
        self.num_hidden = max(1, round(checked_share(ratio, "image") * grid**2))
        self.grid = grid
        self.side = max(1, min(image_size, resolution) // grid)  # pixels of a patch, as it is recovered
        self.embed = nn.Linear(dim, decoder_dim)
        self.position = nn.Parameter(torch.empty(grid**2, decoder_dim))
        nn.init.normal_(self.position, std=0.02)
        self.blocks = Blocks(decoder_dim, num_layers, num_heads, mlp_ratio=4.0, dropout=0.0)
        self.decode = nn.Linear(decoder_dim, in_channels * self.side**2)

    def corrupt(self, x: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:  # [B, C, H, W], [B]
        """Hide the same number of patches of each image."""
        order = torch.rand(len(x), self.grid**2, device=x.device).argsort(1)
        hidden = order < self.num_hidden  # [B, N]
        cover = F.interpolate(hidden.view(-1, 1, self.grid, self.grid).float(), x.shape[2:]) > 0.5
        return torch.where(cover, x.mean((2, 3), keepdim=True), x), {"image": x, "hidden": hidden}

    def loss(self, features: Features, wanted: dict[str, Tensor]) -> Tensor:  # [B]
        """Mean squared error over the hidden patches, each less its own mean and deviation."""
        places = self.embed(self.places(features)) + self.position  # [B, N, decoder_dim]
        decoded = self.decode(self.blocks(places)).float()  # [B, N, P]
        width = self.grid * self.side
        small = F.interpolate(wanted["image"].float(), (width, width), mode="area")
        patches = F.unfold(small, self.side, stride=self.side).transpose(1, 2)  # [B, N, P]
        variance, mean = torch.var_mean(patches, -1, correction=0, keepdim=True)
        error = (decoded - (patches - mean) / (variance + 1e-4).sqrt()).square().mean(-1)  # 1e-4: a plain patch
        return (error * wanted["hidden"]).sum(1) / self.num_hidden

    def places(self, features: Features) -> Tensor:  # [B, N, D]
        """Return the encoder's features of each patch."""
        tokens = features.tokens
        side = 0 if tokens is None else math.isqrt(tokens.shape[1])
        if tokens is None or tokens.shape[1] - side**2 not in PREFIXES:
            return features.pooled.unsqueeze(1).expand(-1, self.grid**2, -1)
        picture = tokens[:, -(side**2) :].transpose(1, 2).unflatten(2, (side, side))  # [B, D, side, side]
        return F.interpolate(picture, (self.grid, self.grid)).flatten(2).transpose(1, 2)
