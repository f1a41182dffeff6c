"""Pictures seen otherwise: cropped, mirrored, in other light; each one in its own way, drawn on its device."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def cropped(x: Tensor, least: float, flip: float = 0.0) -> Tensor:  # [B, C, H, W]
    """Enlarge a part of each picture to the whole, at least this share of the area (Szegedy et al., 2015).

    The part is 3:4 to 4:3 in shape, less where it would not fit. `flip`: the share of the pictures that is mirrored.
    """
    area = least + (1 - least) * torch.rand(len(x), device=x.device)
    widest = (-area.log()).clamp(max=math.log(4 / 3))
    ratio = (widest * (2 * torch.rand(len(x), device=x.device) - 1)).exp()
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()  # as shares of the sides
    across, down = (2 * torch.rand(2, len(x), device=x.device) - 1) * torch.stack([1 - width, 1 - height])
    mirrored = torch.where(torch.rand(len(x), device=x.device) < flip, -width, width)
    columns = _places(mirrored, across, x.shape[3]).unsqueeze(1).expand(-1, x.shape[2], -1)  # [B, H, W]
    rows = _places(height, down, x.shape[2]).unsqueeze(2).expand(-1, -1, x.shape[3])
    return F.grid_sample(x, torch.stack([columns, rows], -1), padding_mode="border", align_corners=False)


def _places(scale: Tensor, middle: Tensor, size: int) -> Tensor:  # [B], [B] -> [B, size]
    """Return the sampling positions of one side, -1 to 1; without a matrix product, which autocast would round."""
    own = (2 * torch.arange(size, device=scale.device) + 1) / size - 1
    return scale.unsqueeze(1) * own + middle.unsqueeze(1)


def relit(x: Tensor, jitter: float, gray: float = 0.0) -> Tensor:  # [B, C, H, W], 0..1
    """Change brightness, contrast and saturation, each by up to this share; some coloured pictures become grey."""
    brightness, contrast, saturation = (1 + jitter * (2 * _draw(x) - 1) for _ in range(3))
    x = x * brightness
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + contrast * (x - mean)
    if x.shape[1] == 3:
        grey = x.mean(1, keepdim=True)
        x = grey + torch.where(_draw(x) < gray, 0.0, saturation) * (x - grey)
    return x.clamp(0, 1)


def _draw(x: Tensor) -> Tensor:  # [B, 1, 1, 1], 0..1
    return torch.rand(len(x), 1, 1, 1, device=x.device)
