"""Random views of images: crop, mirror, brightness, contrast and colour, drawn for each image on its device."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.objectives.pretext import Pretext, check_positive, check_share
from mmrun.values import PositiveShare, Share


def random_crop(x: Tensor, min_area: float, flip: Share = 0.0, max_area: float = 1.0) -> Tensor:
    """Enlarge a random part of each image to the whole image (Szegedy et al., 2015), and mirror some.

    Args:
        x: [B, C, H, W].
        min_area: smallest share of the area that the part covers. Its aspect ratio is between 3:4 and 4:3, less where
            it would not fit.
        flip: probability that an image is mirrored.
        max_area: largest share of the area that the part covers.

    Returns:
        [B, C, H, W].
    """
    area = min_area + (max_area - min_area) * torch.rand(len(x), device=x.device)
    max_log_ratio = (-area.log()).clamp(max=math.log(4 / 3))
    ratio = (max_log_ratio * (2 * torch.rand(len(x), device=x.device) - 1)).exp()
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()  # as shares of the sides
    free = torch.stack([1 - width, 1 - height])  # by which the part can be off centre
    center_x, center_y = (2 * torch.rand(2, len(x), device=x.device) - 1) * free
    mirrored = torch.where(torch.rand(len(x), device=x.device) < flip, -width, width)
    columns = _sample_positions(mirrored, center_x, x.shape[3]).unsqueeze(1).expand(-1, x.shape[2], -1)  # [B, H, W]
    rows = _sample_positions(height, center_y, x.shape[2]).unsqueeze(2).expand(-1, -1, x.shape[3])
    return F.grid_sample(x, torch.stack([columns, rows], -1), padding_mode="border", align_corners=False)


def _sample_positions(scale: Tensor, center: Tensor, size: int) -> Tensor:  # [B], [B] -> [B, size]
    """Return the sampling positions of one side, -1 to 1; without a matrix product, which autocast would round."""
    positions = (2 * torch.arange(size, device=scale.device) + 1) / size - 1
    return scale.unsqueeze(1) * positions + center.unsqueeze(1)


def color_jitter(x: Tensor, jitter: float, gray: Share = 0.0) -> Tensor:
    """Change brightness, contrast and saturation of each image, and turn some colour images grey.

    Args:
        x: [B, C, H, W], or videos [B, T, C, H, W] whose frames change alike, 0..1; without three channels there is no
            saturation.
        jitter: largest relative change of each.
        gray: probability that a colour image becomes grey.

    Returns:
        The same shape, clamped to 0..1.
    """
    brightness, contrast, saturation = (1 + jitter * (2 * _draw(x) - 1) for _ in range(3))
    x = x * brightness
    mean = x.mean(tuple(range(1, x.dim())), keepdim=True)
    x = mean + contrast * (x - mean)
    if x.shape[-3] == 3:
        grey = x.mean(-3, keepdim=True)
        x = grey + torch.where(_draw(x) < gray, 0.0, saturation) * (x - grey)
    return x.clamp(0, 1)


def _draw(x: Tensor) -> Tensor:  # [B, 1, 1, 1], or [B, 1, 1, 1, 1], 0..1
    return torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device)


class ImageViews(Pretext):
    """Base class of pretexts that compare augmented views of an image.

    Args:
        crop: smallest share of the area that a view shows, above 0 and up to 1.
        flip: probability of a mirrored view.
        jitter: largest relative change of brightness, contrast and saturation.
        gray: probability of a grey view.

    Raises:
        ConfigError: an argument is out of range.
    """

    alone = True

    def __init__(self, crop: PositiveShare, flip: Share, jitter: Share, gray: Share) -> None:
        super().__init__()
        self.crop = check_positive(check_share(crop, "image", "crop"), "image", "crop")
        self.flip = check_share(flip, "image", "flip")
        self.jitter = check_share(jitter, "image", "jitter")
        self.gray = check_share(gray, "image", "gray")

    def draw_view(self, x: Tensor) -> Tensor:
        """Draw an augmented view of each image.

        Args:
            x: [B, C, H, W].
        """
        return color_jitter(random_crop(x, self.crop, self.flip), self.jitter, self.gray)
