"""Learn to distinguish matching rows from rows in which one modality was exchanged."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.self_supervised import mean_over, need_every
from mmrun.types import Batch, Features, Objective


class Matching(Objective):
    """Image-text matching (Li et al., 2021), of any modalities: the fused vector tells whether all are of one row.

    In every row one modality, drawn from those it has, is exchanged for another row's. Rows that have but one cannot
    be judged. The other rows are drawn evenly; the paper prefers those that look alike.
    """

    def __init__(self, kinds: Mapping[str, str], dims: Mapping[str, int], fusion_dim: int) -> None:
        super().__init__()
        need_every("objective", kinds, dims)
        if len(kinds) < 2:
            raise ConfigError(f"objective: matching needs two modalities, and here is only {', '.join(kinds)}")
        self.modalities = list(kinds)
        self.matching_head = nn.Sequential(nn.Linear(fusion_dim, fusion_dim), nn.GELU(), nn.Linear(fusion_dim, 1))

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss, and that of true and of exchanged rows."""
        features = model.encode({modality: batch.inputs[modality] for modality in self.modalities})
        donors, judged = exchange(torch.stack([batch.present[modality] for modality in self.modalities], 1))
        false = {name: take(features[name], donor) for name, donor in zip(self.modalities, donors.T, strict=True)}
        outputs = [
            self.matching_head(model.fusion(rows, batch.present)).float().squeeze(1) for rows in (features, false)
        ]
        parts = {
            "loss/true": mean_over(F.softplus(-outputs[0]), judged),
            "loss/exchanged": mean_over(F.softplus(outputs[1]), judged),
        }
        return {"loss": torch.stack(list(parts.values())).mean(), **parts}


def exchange(present: Tensor) -> tuple[Tensor, Tensor]:  # [B, M] bool -> [B, M] int64, [B] bool
    """Draw the row from which each modality is taken, its own but for one of each row, and say which rows have one.

    A donor has the modality and is another row: those that have it stand in a random circle, each takes the next one's.
    """
    rows = torch.arange(len(present), device=present.device).unsqueeze(1)  # [B, 1]
    order = torch.rand(present.shape, device=present.device).masked_fill(~present, 2.0).argsort(0)  # the absent last
    count = present.sum(0)  # [M]
    following = order.gather(0, torch.where(rows < count, (rows + 1) % count.clamp(min=1), rows))
    donors = torch.empty_like(order).scatter(0, order, following)  # [B, M]
    possible = present & (count > 1) & (present.sum(1, keepdim=True) > 1)
    drawn = torch.rand(present.shape, device=present.device).masked_fill(~possible, -1.0).argmax(1, keepdim=True)
    chosen = possible & (torch.arange(present.shape[1], device=present.device) == drawn)
    return donors.where(chosen, rows), possible.any(1)


def take(features: Features, rows: Tensor) -> Features:
    """Return the features of these rows, in this order."""
    tokens, mask = (None if part is None else part[rows] for part in (features.tokens, features.mask))
    return Features(features.pooled[rows], tokens, mask)
