"""Videos: recover frames that were hidden."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.objectives.pretext import GridDecoder, Pretext, check_share, draw_hidden_spans
from mmrun.types import Features
from mmrun.values import PositiveShare, Width


class MaskedFrames(Pretext):
    """A masked autoencoder of whole frames, after VideoMAE (Tong et al., 2022), which hides tubes of patches.

    Hidden frames are replaced by their mean colour. All frames are decoded from the pooled vector, so that any encoder
    can learn it; only the hidden ones count, each standardised by itself.

    Args:
        dim: width of the encoder's features.
        in_channels: C, of the videos.
        image_size: side of the frames, in pixels.
        num_frames: T.
        ratio: probability that a frame is hidden; one at least is.
        resolution: larger frames are recovered at this size.

    Raises:
        ConfigError: `ratio` is out of range.
    """

    def __init__(
        self,
        dim: int,
        in_channels: int,
        image_size: int,
        num_frames: int,
        ratio: PositiveShare = 0.5,
        resolution: Width = 32,
    ) -> None:
        super().__init__()
        self.ratio = check_share(ratio, "video")
        self.size, self.num_frames = min(image_size, resolution), num_frames
        self.decoder = GridDecoder(dim, num_frames * in_channels, self.size, self.size)

    def corrupt(self, x: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the videos with hidden frames, and the target: the videos, and which frames are hidden.

        Args:
            x: [B, T, C, H, W].
            present: is not used.
        """
        everything = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        hidden = draw_hidden_spans(everything, self.ratio, self.num_frames)  # [B, T]
        plain = x.mean((3, 4), keepdim=True)
        return torch.where(hidden[:, :, None, None, None], plain, x), {"video": x, "hidden": hidden}

    def loss(self, features: Features, target: dict[str, Tensor]) -> Tensor:
        """Return half the mean squared error of the hidden frames, standardised, [B].

        Args:
            features: pooled [B, D].
            target: that `corrupt` returned.
        """
        frames = target["video"].float().flatten(1, 2)  # [B, TC, H, W]
        resized = F.interpolate(frames, (self.size, self.size), mode="area").unflatten(1, (self.num_frames, -1))
        deviation, mean = torch.std_mean(resized, (2, 3, 4), keepdim=True)
        standardised = (resized - mean) / (deviation + 0.01)  # 0.01: frames of one colour
        decoded: Tensor = self.decoder(features.pooled).unflatten(1, (self.num_frames, -1))
        errors = 0.5 * (decoded - standardised).square().mean((2, 3, 4))  # [B, T]
        hidden = target["hidden"]
        mean_error: Tensor = (errors * hidden).sum(1) / hidden.sum(1)
        return mean_error
