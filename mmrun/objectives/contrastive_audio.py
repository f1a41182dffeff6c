"""Audio: identify two segments of one clip among those of all others."""

import torch
from torch import Tensor, nn

from mmrun.objectives.contrastive import diagonal_cross_entropy
from mmrun.objectives.gather import gather_rows, select_own_rows
from mmrun.objectives.pretext import Pretext, check_positive, check_share, concat_views
from mmrun.types import Features
from mmrun.values import OpenShare, Width


class ContrastiveAudio(Pretext):
    """COLA (Saeed et al., 2021): contrast of two segments of a clip with those of other clips; bilinear similarity.

    Args:
        dim: width of the encoder's features.
        share: length of a segment, as a share of the clip, above 0 and up to 1.
        projection_dim: width of the space in which segments are compared.

    Raises:
        ConfigError: `share` is out of range.
    """

    alone = True

    def __init__(self, dim: int, share: OpenShare = 0.5, projection_dim: Width = 128) -> None:
        super().__init__()
        self.share = check_positive(check_share(share, "audio", "share"), "audio", "share")
        self.project = nn.Sequential(nn.Linear(dim, projection_dim), nn.LayerNorm(projection_dim), nn.Tanh())
        self.bilinear = nn.Parameter(torch.eye(projection_dim) / projection_dim**0.5)

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return two segments of each clip [2B], and which rows can be contrasted.

        Args:
            x: audio of B clips.
            present: [B] bool.
        """
        return concat_views(self.segment(x), self.segment(x)), present

    def loss(self, features: Features, target: Tensor) -> Tensor:
        """Return the cross-entropy of identifying a clip's second segment by its first, [B].

        Args:
            features: of both segments, pooled [2B, D].
            target: [B] bool, rows that are present.
        """
        first, second = self.project(features.pooled).float().chunk(2)
        with torch.autocast(first.device.type, enabled=False):
            if self.training:
                first, second, target = (gather_rows(part) for part in (first, second, target))
            losses = diagonal_cross_entropy(first @ self.bilinear @ second.T, target)
        return select_own_rows(losses) if self.training else losses

    def segment(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Draw a segment of each clip, move it to the start and pad it with zeros.

        Args:
            x: audio; shapes stay as they are.
        """
        waveform, length = x["waveform"], x["length"]  # [B, S], [B]
        segment_length = (self.share * length).long()
        start = (torch.rand(len(length), device=length.device) * (length - segment_length + 1)).long()
        samples = torch.arange(waveform.shape[1], device=length.device)
        shifted = waveform.gather(1, (start.unsqueeze(1) + samples).clamp(max=len(samples) - 1))
        return {"waveform": shifted.where(samples < segment_length.unsqueeze(1), 0), "length": segment_length}
