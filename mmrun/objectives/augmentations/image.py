"""Augmentation of images, and the operations on pixels that it consists of."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.objectives.augmentations.draw import draw_uniform
from mmrun.objectives.views import color_jitter, random_crop
from mmrun.types import Augmentation
from mmrun.values import PositiveShare, Range, Share, ShareBelow1

Degrees = Annotated[float, Range(at_least=0, at_most=180)]

MAX_ERASED_RATIO = 1 / 0.3  # of the longer side of an erased rectangle to the shorter one (Zhong et al., 2020)


class AugmentImage(Augmentation):
    """Random crop (Szegedy et al., 2015), mirror, rotation, size, colours, blur, noise and erasing, in this order.

    Pixels stay in 0..1. At 0, and a crop of 1, an operation is left out.

    Args:
        crop: smallest share of the area that is seen, above 0 and up to 1.
        flip: probability that an image is mirrored.
        jitter: largest relative change of brightness, contrast and saturation, 0..1.
        rotate: largest rotation to either side, in degrees.
        scale: largest relative change of the size; at 0.2 from 1 / 1.2 to 1.2.
        blur: largest standard deviation of a Gaussian blur, as a share of the longer side.
        noise: largest standard deviation of Gaussian noise on the pixels.
        erase: largest share of the area that a rectangle of noise covers (Zhong et al., 2020).
        gray: probability that a colour image becomes grey.
        max_crop: largest share of the area that is seen, at least `crop`.

    Raises:
        ConfigError: `max_crop` is below `crop`.
    """

    kind = "image"

    def __init__(
        self,
        crop: PositiveShare = 1.0,
        flip: Share = 0.0,
        jitter: Share = 0.0,
        rotate: Degrees = 0.0,
        scale: Share = 0.0,
        blur: ShareBelow1 = 0.0,
        noise: Share = 0.0,
        erase: ShareBelow1 = 0.0,
        gray: Share = 0.0,
        max_crop: PositiveShare = 1.0,
    ) -> None:
        super().__init__()
        if max_crop < crop:
            raise ConfigError(f"max_crop={max_crop} is below crop={crop}")
        self.crop, self.max_crop, self.flip = crop, max_crop, flip
        self.jitter, self.gray = jitter, gray
        self.rotate, self.scale = rotate, scale
        self.blur, self.noise, self.erase = blur, noise, erase

    def forward(self, x: Tensor) -> Tensor:
        """Return a view of each image.

        Args:
            x: [B, C, H, W], 0..1.
        """
        if self.crop < 1 or self.flip > 0:
            x = random_crop(x, self.crop, self.flip, self.max_crop)
        if self.rotate > 0 or self.scale > 0:
            x = rotate_and_scale(x, self.rotate, self.scale)
        if self.jitter > 0 or self.gray > 0:
            x = color_jitter(x, self.jitter, self.gray)
        if self.blur > 0:
            x = blur(x, self.blur * max(x.shape[2:]) * torch.rand(len(x), device=x.device))
        if self.noise > 0:
            deviation = draw_uniform(0, self.noise, (len(x), 1, 1, 1), x.device)
            x = (x + deviation * torch.randn_like(x)).clamp(0, 1)
        if self.erase > 0:
            x = erase(x, self.erase)
        return x


def rotate_and_scale(x: Tensor, rotate: float, scale: float) -> Tensor:
    """Turn each image about its centre and change its size; beyond the border the nearest pixel is repeated.

    Args:
        x: [B, C, H, W].
        rotate: largest rotation, in degrees.
        scale: largest relative change of the size.
    """
    angle = math.radians(rotate) * draw_uniform(-1, 1, (len(x),), x.device)
    step = (math.log1p(scale) * draw_uniform(-1, 1, (len(x),), x.device)).exp()  # source pixels per pixel
    cos, sin = step * angle.cos(), step * angle.sin()
    matrix = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    return transform(x, matrix, torch.zeros(len(x), 2, device=x.device), "border")


def transform(x: Tensor, matrix: Tensor, offset: Tensor, padding_mode: str = "zeros") -> Tensor:
    """Read each image at `matrix @ position + offset`, by bilinear interpolation.

    Args:
        x: [B, C, H, W].
        matrix: [B, 2, 2], on positions (column, row) in pixels from the centre.
        offset: [B, 2], in pixels.
        padding_mode: what lies beyond the border: "zeros", or "border" for the nearest pixel.
    """
    height, width = x.shape[2:]
    columns = torch.arange(width, device=x.device) - (width - 1) / 2
    rows = (torch.arange(height, device=x.device) - (height - 1) / 2).unsqueeze(1)
    sides = []
    for side, size in enumerate((width, height)):
        along_columns, along_rows = matrix[:, side, :, None, None].unbind(1)  # [B, 1, 1]
        sides.append((along_columns * columns + along_rows * rows + offset[:, side, None, None]) * 2 / size)
    return F.grid_sample(x, torch.stack(sides, -1), padding_mode=padding_mode, align_corners=False)


def blur(x: Tensor, deviation: Tensor) -> Tensor:
    """Blur each image by a Gaussian of its own; near the border the weights of the pixels inside sum to 1.

    Args:
        x: [B, C, H, W].
        deviation: [B], in pixels.
    """
    across, down = (_build_blur(deviation, size).unsqueeze(1) for size in (x.shape[3], x.shape[2]))
    return down @ x @ across.mT


def _build_blur(deviation: Tensor, size: int) -> Tensor:
    """Return the weights of every pixel of a side for every other one, [B, size, size]."""
    positions = torch.arange(size, device=deviation.device)
    distance = (positions - positions.unsqueeze(1)).square()
    return (-distance / (2 * deviation.clamp(min=1e-3).square())[:, None, None]).softmax(2)


def erase(x: Tensor, max_area: float) -> Tensor:
    """Cover a random rectangle of each image with noise (Zhong et al., 2020).

    Args:
        x: [B, C, H, W].
        max_area: largest share of the area that is covered.
    """
    area = max_area * torch.rand(len(x), device=x.device)
    limit = math.log(MAX_ERASED_RATIO) / 2
    ratio = draw_uniform(-limit, limit, (len(x),), x.device).exp()
    width = (area.sqrt() * ratio).clamp(max=1.0)
    height = (area / width.clamp(min=1e-6)).clamp(max=1.0)
    center_x = width / 2 + (1 - width) * torch.rand(len(x), device=x.device)
    center_y = height / 2 + (1 - height) * torch.rand(len(x), device=x.device)
    covered = draw_rectangles(center_x, center_y, width, height, (x.shape[2], x.shape[3]))
    return torch.where(covered, torch.rand_like(x), x)


def draw_rectangles(center_x: Tensor, center_y: Tensor, width: Tensor, height: Tensor, size: tuple[int, int]) -> Tensor:
    """Return which pixels lie in the rectangle of each row, [B, 1, H, W] bool.

    Args:
        center_x: [B], 0..1.
        center_y: [B], 0..1.
        width: [B], as a share of the images' width; what lies beyond the border is cut.
        height: [B], as a share of their height.
        size: H and W.
    """
    rows, columns = ((torch.arange(side, device=width.device) + 0.5) / side for side in size)
    in_rows = (rows - center_y.unsqueeze(1)).abs() < height.unsqueeze(1) / 2  # [B, H]
    in_columns = (columns - center_x.unsqueeze(1)).abs() < width.unsqueeze(1) / 2  # [B, W]
    return (in_rows.unsqueeze(2) & in_columns.unsqueeze(1)).unsqueeze(1)
