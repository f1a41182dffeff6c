"""Images: know two views of one picture among those of all others."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.pretext import Pretext, both, checked_positive, checked_share
from mmrun.objectives.views import cropped, relit
from mmrun.types import Features


class SimClr(Pretext):
    """Contrast of two augmented views (Chen et al., 2020), by crop, mirror, colour and grey; without blur.

    The other pictures are those of the same micro-batch and process: fewer with `accumulate`, not more with more
    devices.
    """

    alone = True

    def __init__(
        self,
        dim: int,
        crop: float = 0.3,
        flip: float = 0.5,
        jitter: float = 0.4,
        gray: float = 0.2,
        temperature: float = 0.5,
        projection_dim: int = 64,
    ) -> None:
        super().__init__()
        self.crop = checked_positive(checked_share(crop, "image", "crop"), "image", "crop")
        self.flip = checked_share(flip, "image", "flip")
        self.jitter = checked_share(jitter, "image", "jitter")
        self.gray = checked_share(gray, "image", "gray")
        self.temperature = checked_positive(temperature, "image", "temperature")
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, projection_dim))

    def corrupt(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:  # [B, C, H, W], [B]
        """Return two views of each image, and which rows can be contrasted."""
        return both(self.view(x), self.view(x)), present

    def loss(self, features: Features, wanted: Tensor) -> Tensor:  # [2B, D], [B] -> [B]
        """How hard each picture's views find each other."""
        first, second = self.project(features.pooled).float().chunk(2)
        return nt_xent(first, second, wanted, self.temperature)

    def view(self, x: Tensor) -> Tensor:  # [B, C, H, W]
        """Draw a view of each picture, on its device."""
        return relit(cropped(x, self.crop, self.flip), self.jitter, self.gray)


def nt_xent(first: Tensor, second: Tensor, there: Tensor, temperature: float) -> Tensor:  # [B, D] twice, [B] -> [B]
    """Cross-entropy of each view's search for the other among all views, in the mean of a row's two.

    Similarities are cosines over `temperature`. A row that is not there is found by no other.
    """
    with torch.autocast(first.device.type, enabled=False):
        views = F.normalize(torch.cat([first, second]), dim=-1)  # [2B, D]
        own = torch.arange(len(views), device=views.device)
        other = own.roll(len(first))
        absent = ~there.repeat(2) & (own != other.unsqueeze(1))
        logits = views @ views.T / temperature
        logits = logits.masked_fill(absent | (own == own.unsqueeze(1)), torch.finfo(logits.dtype).min)
        return F.cross_entropy(logits, other, reduction="none").view(2, -1).mean(0)
