"""Audio: know two segments of one clip among those of all others."""

import torch
from torch import Tensor, nn

from mmrun.objectives.contrastive import tell_apart
from mmrun.objectives.pretext import Pretext, both, checked_positive, checked_share
from mmrun.types import Features


class ContrastiveAudio(Pretext):
    """COLA (Saeed et al., 2021): similarity is bilinear, learned, and compared with that to the batch's other clips."""

    alone = True

    def __init__(self, dim: int, share: float = 0.5, projection_dim: int = 128) -> None:
        super().__init__()
        self.share = checked_positive(checked_share(share, "audio", "share"), "audio", "share")
        self.project = nn.Sequential(nn.Linear(dim, projection_dim), nn.LayerNorm(projection_dim), nn.Tanh())
        self.bilinear = nn.Parameter(torch.eye(projection_dim) / projection_dim**0.5)

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return two segments of each clip, and which rows can be contrasted."""
        return both(self.segment(x), self.segment(x)), present

    def loss(self, features: Features, wanted: Tensor) -> Tensor:  # [2B, D], [B] -> [B]
        """How hard the first segment finds the second."""
        first, second = self.project(features.pooled).float().chunk(2)
        with torch.autocast(first.device.type, enabled=False):
            return tell_apart(first @ self.bilinear @ second.T, wanted)

    def segment(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Draw a segment of each clip, a share of its length, and put it first; silence fills the rest."""
        waveform, length = x["waveform"], x["length"]  # [B, S], [B]
        kept = (self.share * length).long()
        start = (torch.rand(len(length), device=length.device) * (length - kept + 1)).long()
        steps = torch.arange(waveform.shape[1], device=length.device)
        moved = waveform.gather(1, (start.unsqueeze(1) + steps).clamp(max=len(steps) - 1))
        return {"waveform": moved.where(steps < kept.unsqueeze(1), 0), "length": kept}
