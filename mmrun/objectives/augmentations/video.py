"""Augmentation of videos: that of images, the same in all frames of a video."""

from torch import Tensor

from mmrun.objectives.augmentations.image import AugmentImage, Degrees
from mmrun.objectives.views import color_jitter
from mmrun.types import Augmentation
from mmrun.values import PositiveShare, Share, ShareBelow1


class AugmentVideo(Augmentation):
    """Colours, then crop, mirror, rotation, size, blur, noise and erasing, as `AugmentImage` changes an image.

    All frames of a video are changed alike, so that what moves is what moved before; only noise differs.

    Args:
        crop: see `AugmentImage`, as all of these.
        flip: probability that a video is mirrored; 0 where left and right matter.
        jitter: largest relative change of brightness, contrast and saturation, 0..1.
        rotate: largest rotation to either side, in degrees.
        scale: largest relative change of the size.
        blur: largest standard deviation of a Gaussian blur, as a share of the longer side.
        noise: largest standard deviation of Gaussian noise on the pixels.
        erase: largest share of the area that a rectangle of noise covers, in all frames at the same place.
        gray: probability that a colour video becomes grey.

    Raises:
        ConfigError: see `AugmentImage`.
    """

    kind = "video"

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
    ) -> None:
        super().__init__()
        self.jitter, self.gray = jitter, gray
        self.image = AugmentImage(crop, flip, rotate=rotate, scale=scale, blur=blur, noise=noise, erase=erase)

    def forward(self, x: Tensor) -> Tensor:
        """Return a view of each video.

        Args:
            x: [B, T, C, H, W], 0..1.
        """
        if self.jitter > 0 or self.gray > 0:
            x = color_jitter(x, self.jitter, self.gray)
        changed: Tensor = self.image(x.flatten(1, 2))  # frames as channels of one image
        return changed.view(x.shape)
