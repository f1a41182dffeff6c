"""Images: predict the features of one augmented view, by an average of the encoder, from another view."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.pretext import check_share, concat_views
from mmrun.objectives.teacher import EMACopy
from mmrun.objectives.views import ImageViews
from mmrun.types import Features
from mmrun.values import PositiveShare, Share, Width


class Byol(ImageViews):
    """BYOL (Grill et al., 2020): predict an average network's projection of one view from the other; no negatives.

    The target is a moving average of encoder and projection. Differences from the paper: the average of the encoder is
    in eval mode; projection and prediction always use the statistics of the micro-batch; the decay is constant; views
    are those of SimCLR, without blur and solarisation. Features can get better while the loss rises: set the stage's
    `keep=last`.

    Args:
        dim: width of the encoder's features.
        crop: smallest share of the area that a view shows, above 0 and up to 1.
        flip: probability of a mirrored view.
        jitter: largest relative change of brightness, contrast and saturation.
        gray: probability of a grey view.
        decay: of the average, per step.
        hidden_dim: width of the hidden layers of projection and prediction.
        projection_dim: width of the space in which views are compared.

    Raises:
        ConfigError: an argument is out of range.
    """

    moving_target = True

    def __init__(
        self,
        dim: int,
        crop: PositiveShare = 0.3,
        flip: Share = 0.5,
        jitter: Share = 0.4,
        gray: Share = 0.2,
        decay: Share = 0.99,
        hidden_dim: Width = 256,
        projection_dim: Width = 64,
    ) -> None:
        super().__init__(crop, flip, jitter, gray)
        self.decay = check_share(decay, "image", "decay")
        self.project = _Mlp(dim, hidden_dim, projection_dim)
        self.predict = _Mlp(projection_dim, hidden_dim, projection_dim)
        self.target_project = EMACopy(self.project)

    def attach(self, encoder: nn.Module) -> None:
        """Start the average of the encoder as a copy of it."""
        self.target_encoder = EMACopy(encoder)

    def update(self, encoder: nn.Module) -> None:
        """Move the averages towards the encoder and the projection."""
        self.target_encoder.update(encoder, 1 - self.decay)
        self.target_project.update(self.project, 1 - self.decay)

    def corrupt(self, x: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return two views of each image [2B, C, H, W], and the target.

        Args:
            x: [B, C, H, W].
            present: [B] bool.

        Returns:
            The views, and of each view: the target's projection [2B, P], and whether the row is present [2B].
        """
        views, rows = concat_views(self.draw_view(x), self.draw_view(x)), present.repeat(2)
        projected = self.target_project(self.target_encoder(views).pooled, rows).float()
        return views, {"projected": projected, "present": rows}

    def loss(self, features: Features, target: dict[str, Tensor]) -> Tensor:
        """Return the squared distance of the normalised prediction from the other view's target, both ways, [B].

        Args:
            features: of both views, pooled [2B, D].
            target: that `corrupt` returned.
        """
        present = target["present"]
        predicted = self.predict(self.project(features.pooled, present), present).float()
        first_target, second_target = target["projected"].chunk(2)
        similarity = F.cosine_similarity(predicted, torch.cat([second_target, first_target]))
        return (2 - 2 * similarity).view(2, -1).sum(0)


class _Mlp(nn.Module):
    """A hidden layer normalised by the statistics of the present rows of the batch, as BatchNorm is in training."""

    def __init__(self, in_dim: int, hidden_dim: int, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_dim, hidden_dim)
        self.scale, self.shift = nn.Parameter(torch.ones(hidden_dim)), nn.Parameter(torch.zeros(hidden_dim))
        self.out = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:  # [N, in_dim], [N] bool -> [N, dim]
        hidden = self.hidden(x).float()
        rows = present.unsqueeze(1)
        count = present.sum().clamp(min=1)
        mean = hidden.where(rows, 0).sum(0) / count
        variance = (hidden - mean).square().where(rows, 0).sum(0) / count
        normalised = (hidden - mean) / (variance + 1e-5).sqrt() * self.scale + self.shift
        projected: Tensor = self.out(normalised.relu())
        return projected
