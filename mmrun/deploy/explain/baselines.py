"""What takes the place of a picture, or of a part of it, when it is explained."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

ImageBaselineName = Literal["mean", "black", "blurred"]
BLUR_CELLS = 4  # of a blurred picture, along each side


class ImageBaseline(NamedTuple):
    """A baseline of pictures.

    Attributes:
        make: returns that of some pictures [B, C, H, W], of the same shape.
        description: for readers.
    """

    make: Callable[[Tensor], Tensor]
    description: str


def average_colour(x: Tensor) -> Tensor:
    """Return a plain picture of the mean colour of each picture or frame.

    Args:
        x: [B, C, H, W] or [B, T, C, H, W].

    Returns:
        The same shape.
    """
    return x.mean(dim=(-2, -1), keepdim=True).expand_as(x)


def blur(x: Tensor) -> Tensor:
    """Return each picture without its details, from the means of a few cells (as in Fong & Vedaldi, 2017).

    Args:
        x: [B, C, H, W].

    Returns:
        [B, C, H, W].
    """
    cells = F.adaptive_avg_pool2d(x, BLUR_CELLS)
    return F.interpolate(cells, size=x.shape[2:], mode="bilinear", align_corners=False)


# The mean colour is the default: it is seldom far from what the encoder was trained on, and dark parts of a picture,
# which black would leave without any effect (Sturmfels et al., 2020), count as well
IMAGE_BASELINES: dict[ImageBaselineName, ImageBaseline] = {
    "mean": ImageBaseline(average_colour, "a plain picture of its mean colour"),
    "black": ImageBaseline(torch.zeros_like, "a black picture"),
    "blurred": ImageBaseline(blur, "the picture without its details"),
}
