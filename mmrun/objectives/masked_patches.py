"""Images: recover the pixels of hidden patches."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.sequence import Blocks
from mmrun.objectives.pretext import Pretext, check_share
from mmrun.types import Features
from mmrun.values import Depth, PositiveShare, Width

PREFIXES = (0, 1, 5)  # tokens before those of a grid: none, a class token, a class token and four registers


class MaskedAutoencoder(Pretext):
    """A masked autoencoder (MAE: He et al., 2022): most patches are hidden, a small transformer recovers their pixels.

    It works with any encoder: hidden patches are filled with the image's mean colour rather than removed. Tokens that
    form a grid give the features of each patch; without them, the pooled vector is used for all. Letters: N patches of
    P numbers each.

    Args:
        dim: width of the encoder's features.
        in_channels: C, of the images.
        image_size: side of the images, in pixels.
        ratio: share of the patches that is hidden.
        grid: patches along a side.
        resolution: larger images are recovered at this size.
        decoder_dim: width of the decoder.
        num_layers: of the decoder.
        num_heads: of the decoder's attention.

    Raises:
        ConfigError: `ratio` or `grid` is out of range.
    """

    def __init__(
        self,
        dim: int,
        in_channels: int,
        image_size: int,
        ratio: PositiveShare = 0.75,
        grid: Width = 8,
        resolution: Width = 64,
        decoder_dim: Width = 128,
        num_layers: Depth = 1,
        num_heads: Width = 4,
    ) -> None:
        super().__init__()
        if not 1 <= grid <= image_size:
            raise ConfigError(f"objective.by_kind.image.grid: {grid} patches do not fit into {image_size} pixels")
        self.num_hidden = max(1, round(check_share(ratio, "image") * grid**2))
        self.grid = grid
        self.side = max(1, min(image_size, resolution) // grid)  # of a recovered patch, in pixels
        self.embed = nn.Linear(dim, decoder_dim)
        self.position = nn.Parameter(torch.empty(grid**2, decoder_dim))
        nn.init.normal_(self.position, std=0.02)
        self.blocks = Blocks(decoder_dim, num_layers, num_heads, mlp_ratio=4.0, dropout=0.0)
        self.decode = nn.Linear(decoder_dim, in_channels * self.side**2)

    def corrupt(self, x: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Hide the same number of patches in each image.

        Args:
            x: [B, C, H, W].
            present: is not used.

        Returns:
            The corrupted images, and the target: image, and hidden [B, N] bool.
        """
        order = torch.rand(len(x), self.grid**2, device=x.device).argsort(1)
        hidden = order < self.num_hidden  # [B, N]
        cover = F.interpolate(hidden.view(-1, 1, self.grid, self.grid).float(), x.shape[2:]) > 0.5
        return torch.where(cover, x.mean((2, 3), keepdim=True), x), {"image": x, "hidden": hidden}

    def loss(self, features: Features, target: dict[str, Tensor]) -> Tensor:
        """Return the mean squared error over the hidden patches, each standardised by itself, [B].

        Args:
            features: tokens that form a grid, or pooled [B, D].
            target: that `corrupt` returned.
        """
        patch_features = self.embed(self.select_patch_features(features)) + self.position  # [B, N, decoder_dim]
        decoded: Tensor = self.decode(self.blocks(patch_features)).float()  # [B, N, P]
        width = self.grid * self.side
        resized = F.interpolate(target["image"].float(), (width, width), mode="area")
        patches = F.unfold(resized, self.side, stride=self.side).transpose(1, 2)  # [B, N, P]
        variance, mean = torch.var_mean(patches, -1, correction=0, keepdim=True)
        standardised = (patches - mean) / (variance + 1e-4).sqrt()  # 1e-4: patches of one colour
        error: Tensor = (decoded - standardised).square().mean(-1)  # [B, N]
        return (error * target["hidden"]).sum(1) / self.num_hidden

    def select_patch_features(self, features: Features) -> Tensor:
        """Return the encoder's features of each patch, [B, N, D].

        Args:
            features: tokens that form a grid are resized to the patches; otherwise the pooled vector is repeated.
        """
        tokens = features.tokens
        side = 0 if tokens is None else math.isqrt(tokens.shape[1])
        if tokens is None or tokens.shape[1] - side**2 not in PREFIXES:
            return features.pooled.unsqueeze(1).expand(-1, self.grid**2, -1)
        token_grid = torch.unflatten(tokens[:, -(side**2) :].transpose(1, 2), 2, (side, side))  # [B, D, side, side]
        return F.interpolate(token_grid, (self.grid, self.grid)).flatten(2).transpose(1, 2)
