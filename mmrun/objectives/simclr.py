"""Images: identify two augmented views of one image among those of all others."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.gather import gather_rows, select_own_rows
from mmrun.objectives.pretext import check_positive, concat_views
from mmrun.objectives.views import ImageViews
from mmrun.types import Features
from mmrun.values import PositiveFloat, PositiveShare, Share, Width


class SimClr(ImageViews):
    """SimCLR (Chen et al., 2020): contrast of two augmented views, by crop, mirror, colour and grey; without blur.

    Negatives are the other images of the same micro-batch, in training those of all processes; gradient accumulation
    makes them fewer, so the gradient of a batch depends on how it is split.

    Args:
        dim: width of the encoder's features.
        crop: smallest share of the area that a view shows, above 0 and up to 1.
        flip: probability of a mirrored view.
        jitter: largest relative change of brightness, contrast and saturation.
        gray: probability of a grey view.
        temperature: divides the cosine similarities.
        projection_dim: width of the space in which views are compared.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        dim: int,
        crop: PositiveShare = 0.3,
        flip: Share = 0.5,
        jitter: Share = 0.4,
        gray: Share = 0.2,
        temperature: PositiveFloat = 0.5,
        projection_dim: Width = 64,
    ) -> None:
        super().__init__(crop, flip, jitter, gray)
        self.temperature = check_positive(temperature, "image", "temperature")
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, projection_dim))

    def corrupt(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return two views of each image [2B, C, H, W], and which rows can be contrasted.

        Args:
            x: [B, C, H, W].
            present: [B] bool.
        """
        return concat_views(self.draw_view(x), self.draw_view(x)), present

    def loss(self, features: Features, target: Tensor) -> Tensor:
        """Return the NT-Xent loss of each image, [B].

        Args:
            features: of both views, pooled [2B, D].
            target: [B] bool, rows that are present.
        """
        first, second = self.project(features.pooled).float().chunk(2)
        if self.training:
            first, second, target = (gather_rows(part) for part in (first, second, target))
        losses = nt_xent(first, second, target, self.temperature)
        return select_own_rows(losses) if self.training else losses


def nt_xent(first: Tensor, second: Tensor, present: Tensor, temperature: float) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy (Chen et al., 2020) of each row, [B].

    Each view identifies the other view of its row among all views; the loss of a row is the mean of its two.

    Args:
        first: a view of each row [B, D], of any length.
        second: another [B, D].
        present: [B] bool; rows that are not present are no negatives.
        temperature: divides the cosine similarities.
    """
    with torch.autocast(first.device.type, enabled=False):
        views = F.normalize(torch.cat([first, second]), dim=-1)  # [2B, D]
        rows = torch.arange(len(views), device=views.device)
        positives = rows.roll(len(first))
        absent = ~present.repeat(2) & (rows != positives.unsqueeze(1))
        logits = views @ views.T / temperature
        logits = logits.masked_fill(absent | (rows == rows.unsqueeze(1)), torch.finfo(logits.dtype).min)
        return F.cross_entropy(logits, positives, reduction="none").view(2, -1).mean(0)
