"""Augmentation of point clouds."""

import torch
from torch import Tensor

from mmrun.objectives.augmentations.draw import draw_uniform
from mmrun.types import Augmentation
from mmrun.values import NonNegativeFloat, ShareBelow1

NUM_COORDINATES = 3


class AugmentPoints(Augmentation):
    """Rotation about the vertical axis, noise on each coordinate (Qi et al., 2017), and points left out.

    Args:
        rotate: largest angle, in degrees; 180: all directions.
        jitter: standard deviation of the noise, in the unit of the coordinates: scenes have the radius 1.
        drop: largest share of the points that is left out; one at least stays.
    """

    kind = "points"

    def __init__(self, rotate: NonNegativeFloat = 0.0, jitter: NonNegativeFloat = 0.0, drop: ShareBelow1 = 0.0) -> None:
        super().__init__()
        self.rotate, self.jitter, self.drop = rotate, jitter, drop

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each cloud augmented; points that are left out become padding.

        Args:
            x: points [B, C, N] and mask [B, N].
        """
        points, mask = x["points"], x["mask"]
        coordinates, features = points[:, :NUM_COORDINATES], points[:, NUM_COORDINATES:]
        coordinates = rotate_about_vertical(coordinates, self.rotate)
        coordinates = coordinates + self.jitter * torch.randn_like(coordinates)
        drawn = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, -1)
        share = draw_uniform(0, self.drop, (len(mask), 1), mask.device)
        mask = mask & ((drawn >= share) | (drawn == drawn.amax(1, keepdim=True)))
        changed = torch.cat([coordinates, features], 1).where(mask.unsqueeze(1), 0)
        return {**x, "points": changed.to(points.dtype), "mask": mask}


def rotate_about_vertical(coordinates: Tensor, degrees: float) -> Tensor:
    """Rotate each cloud by an angle of its own.

    Args:
        coordinates: [B, 3, N]; the third one is the height.
        degrees: largest angle.
    """
    angle = draw_uniform(-1, 1, (len(coordinates), 1), coordinates.device) * torch.pi * degrees / 180
    cosine, sine = angle.cos(), angle.sin()
    x, y, z = coordinates.unbind(1)
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y, z], 1)
