"""TrivialAugment: one random operation a picture, at a random strength."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.objectives.augmentations.image import transform
from mmrun.types import Augmentation
from mmrun.values import Range

OPERATIONS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize"),
)
MAX_SHEAR = 0.99
MAX_SHIFT = 32 / 224  # of the side: the paper's 32 pixels would move small pictures out of sight
MAX_DEGREES = 135
MAX_BLEND = 0.99  # by which brightness, color, contrast and sharpness differ from 1
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey


class TrivialAugment(Augmentation):
    """TrivialAugment (Müller & Hutter, 2021) with the paper's wide space of strengths.

    Each picture is changed by one of the 14 OPERATIONS, drawn uniformly, at one of `bins` strengths. The batch passes
    through each operation once; those that are not drawn are at their neutral strength.

    Args:
        bins: number of strengths, from neutral to the strongest.
    """

    kind = "image"

    def __init__(self, bins: Annotated[int, Range(at_least=2, at_most=1000)] = 31) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        """Return a view of each image.

        Args:
            x: [B, C, H, W], 0..1. Without three channels "color" changes nothing.
        """
        drawn = torch.randint(len(OPERATIONS), (len(x),), device=x.device)
        level = torch.randint(self.bins, (len(x),), device=x.device) / (self.bins - 1)
        sign = 2 * torch.randint(2, (len(x),), device=x.device) - 1
        return apply_operations(x, drawn, level, sign)


def apply_operations(x: Tensor, drawn: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Change each picture by an operation.

    Args:
        x: [B, C, H, W], 0..1.
        drawn: [B], numbers of OPERATIONS.
        level: [B], strengths from 0 to 1.
        sign: [B], -1 or 1: the direction of an operation that has two.
    """
    signed = {}
    for number, name in enumerate(OPERATIONS[:10]):
        signed[name] = torch.where(drawn == number, level * sign, 0.0)
    is_drawn = {name: (drawn == number).view(-1, 1, 1, 1) for number, name in enumerate(OPERATIONS)}
    level = level.view(-1, 1, 1, 1)
    moved = _move(x, signed)
    result = x
    for name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate"):
        result = moved.where(is_drawn[name], result)
    grey = _to_grey(x)
    bases = {
        "brightness": torch.zeros_like(x),
        "color": grey.expand_as(x) if x.shape[1] == 3 else x,
        "contrast": grey.mean((1, 2, 3), keepdim=True).expand_as(x),
        "sharpness": _smooth(x),
    }
    for name, base in bases.items():
        factor = 1 + MAX_BLEND * signed[name].view(-1, 1, 1, 1)
        result = torch.lerp(base, x, factor).clamp(0, 1).where(is_drawn[name], result)
    result = posterize(x, level).where(is_drawn["posterize"], result)
    result = torch.where(x >= 1 - level, 1 - x, x).where(is_drawn["solarize"], result)
    result = autocontrast(x).where(is_drawn["autocontrast"], result)
    return equalize(x).where(is_drawn["equalize"], result)


def _move(x: Tensor, signed: dict[str, Tensor]) -> Tensor:
    """Shear, shift and turn about the centre; what comes in from outside is black."""
    angle = math.radians(MAX_DEGREES) * signed["rotate"]
    cos, sin = angle.cos(), angle.sin()
    columns = torch.stack([cos, -sin + MAX_SHEAR * signed["shear_x"]], 1)
    rows = torch.stack([sin + MAX_SHEAR * signed["shear_y"], cos], 1)
    shift = [signed["translate_x"] * MAX_SHIFT * x.shape[3], signed["translate_y"] * MAX_SHIFT * x.shape[2]]
    return transform(x, torch.stack([columns, rows], 1), torch.stack(shift, 1))


def _to_grey(x: Tensor) -> Tensor:
    """Return the brightness of each pixel, [B, 1, H, W]."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    red, green, blue = x.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def _smooth(x: Tensor) -> Tensor:
    """Weigh each pixel by 5 and its eight neighbours by 1."""
    mean = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return (9 * mean + 4 * x) / 13


def posterize(x: Tensor, level: Tensor) -> Tensor:
    """Keep the upper bits of the 8 of each pixel: all at level 0, two at level 1.

    Args:
        x: [B, C, H, W], 0..1.
        level: [B, 1, 1, 1].
    """
    step = 2 ** (6 * level).round()
    return ((x * 255).round() / step).floor() * step / 255


def autocontrast(x: Tensor) -> Tensor:
    """Stretch each channel of each picture to 0..1; a channel of one value stays.

    Args:
        x: [B, C, H, W].
    """
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-6), x)


def equalize(x: Tensor) -> Tensor:
    """Map the 256 values of each channel of each picture so that they are about equally frequent, as Pillow does.

    Args:
        x: [B, C, H, W], 0..1.
    """
    pixels = (x * 255).round().long().flatten(2).flatten(0, 1)  # [B * C, H * W]
    counts = torch.zeros(len(pixels), 256, dtype=torch.int64, device=x.device)
    counts.scatter_add_(1, pixels, torch.ones_like(pixels))
    step = (pixels.shape[1] - counts.gather(1, pixels.amax(1, keepdim=True))) // 255
    num_below = counts.cumsum(1) - counts
    table = ((num_below + step // 2) // step.clamp(min=1)).clamp(0, 255)
    equalized = (table.gather(1, pixels) / 255).view(x.shape)
    return torch.where((step > 0).view(*x.shape[:2], 1, 1), equalized, x)
