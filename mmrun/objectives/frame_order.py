"""Videos: tell whether the frames are in their order."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.objectives.pretext import Pretext
from mmrun.types import Features

MIN_FRAMES = 3  # of two, the order backwards is as plausible
TOLERANCE = 1e-4  # relative difference of features that is rounding


class FrameOrder(Pretext):
    """Shuffle and Learn (Misra et al., 2016): tell videos from ones whose frames are in a random order.

    Half of the rows are shuffled, so that chance is a loss of log 2. The paper compares three frames of a video; here
    the encoder reads all of them.

    Args:
        dim: width of the encoder's features.
        in_channels: C, of the videos.
        image_size: side of the frames, in pixels.
        num_frames: T, at least MIN_FRAMES.

    Raises:
        ConfigError: a video has fewer frames.
    """

    def __init__(self, dim: int, in_channels: int, image_size: int, num_frames: int) -> None:
        super().__init__()
        if num_frames < MIN_FRAMES:
            raise ConfigError(
                f"objective.by_kind.video: {num_frames} frames have no order; set preprocess.num_frames to "
                f"{MIN_FRAMES} or more"
            )
        self.shape = (num_frames, in_channels, image_size, image_size)
        self.classifier = nn.Linear(dim, 1)

    def check(self, encoder: nn.Module, key_path: str) -> None:
        """Reject an encoder whose features do not depend on the order, such as a mean over frames."""
        parameter = next(encoder.parameters(), torch.zeros(()))
        video = torch.rand(1, *self.shape, generator=torch.Generator().manual_seed(0)).to(parameter)
        was_training = encoder.training
        encoder.eval()
        with torch.no_grad():
            features, backwards = encoder(video).pooled, encoder(video.flip(1)).pooled
        encoder.train(was_training)
        if (features - backwards).abs().max() <= TOLERANCE * features.abs().max():
            raise ConfigError(
                f"{key_path}: its features do not depend on the order of the frames, which frame_order learns; set "
                f"{key_path}.temporal=gru, or choose pretext masked_frames"
            )

    def corrupt(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the videos, half of them with shuffled frames, and which are in order [B] float.

        Args:
            x: [B, T, C, H, W].
            present: is not used.
        """
        num_rows, num_frames = x.shape[:2]
        in_order = torch.randperm(num_rows, device=x.device) % 2 == 0
        order = torch.rand(num_rows, num_frames, device=x.device).argsort(1)
        straight = torch.arange(num_frames, device=x.device)
        order = torch.where((order == straight).all(1, keepdim=True), order.roll(1, 1), order)  # none is left in order
        order = torch.where(in_order.unsqueeze(1), straight, order)
        shuffled = x.gather(1, order[:, :, None, None, None].expand_as(x))
        return shuffled, in_order.to(x.dtype)

    def loss(self, features: Features, target: Tensor) -> Tensor:
        """Return the binary cross-entropy [B].

        Args:
            features: pooled [B, D].
            target: which rows are in order [B].
        """
        logits = self.classifier(features.pooled).float().squeeze(1)
        return F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
