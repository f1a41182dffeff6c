"""Distinguish matching rows from rows in which one modality was exchanged."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import masked_mean
from mmrun.objectives.self_supervised import require_all_modalities
from mmrun.types import Batch, Features, Objective

MATCHABLE = "matchable"  # name of the mask of rows with several modalities


class Matching(Objective):
    """Image-text matching (ITM: Li et al., 2021), for any modalities: the fused vector tells if all are of one row.

    In every row one modality, drawn from those it has, is exchanged for another row's. Rows with a single modality do
    not count. Negatives are drawn uniformly; the paper prefers similar ones.

    Args:
        kinds: kind of each modality that the stage reads; two at least.
        dims: width of the features of each encoder.
        fusion_dim: width of the fused vector.

    Raises:
        ConfigError: the stage does not read every modality, or there is a single one.
    """

    def __init__(self, kinds: Mapping[str, str], dims: Mapping[str, int], fusion_dim: int) -> None:
        super().__init__()
        require_all_modalities("objective", kinds, dims)
        if len(kinds) < 2:
            raise ConfigError(f"objective: matching needs two modalities, and the model has only {', '.join(kinds)}")
        self.modalities = list(kinds)
        self.matching_head = nn.Sequential(nn.Linear(fusion_dim, fusion_dim), nn.GELU(), nn.Linear(fusion_dim, 1))

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        """Return which rows have several modalities; see `Objective.masks`."""
        present = torch.stack([batch.present[modality] for modality in self.modalities])
        return {MATCHABLE: present.sum(0) > 1}

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the mean of the binary cross-entropies of true and of exchanged rows.

        Args:
            model: to be trained.
            batch: targets are not used.

        Returns:
            loss, loss/true, loss/exchanged.
        """
        features = model.encode({modality: batch.inputs[modality] for modality in self.modalities})
        donors, valid = draw_donors(torch.stack([batch.present[modality] for modality in self.modalities], 1))
        exchanged = {}
        for modality, rows in zip(self.modalities, donors.T, strict=True):
            exchanged[modality] = select_rows(features[modality], rows)
        true = masked_mean(F.softplus(-self._logits(model, features, batch)), valid)
        false = masked_mean(F.softplus(self._logits(model, exchanged, batch)), valid)
        parts = {"loss/true": batch.weigh(true, MATCHABLE), "loss/exchanged": batch.weigh(false, MATCHABLE)}
        return {"loss": torch.stack(list(parts.values())).mean(), **parts}

    def _logits(self, model: Multimodal, features: dict[str, Features], batch: Batch) -> Tensor:  # [B]
        """Return the logit of each row being a true one."""
        logits: Tensor = self.matching_head(model.fusion(features, batch.present))  # [B, 1]
        return logits.float().squeeze(1)


def draw_donors(present: Tensor) -> tuple[Tensor, Tensor]:
    """Draw from which row each modality is taken: from the row itself, but for one modality of each row.

    That one comes from another row which has it: the rows that have a modality are put on a circle in random order, and
    each takes the next one's.

    Args:
        present: [B, M] bool.

    Returns:
        Row numbers [B, M] int64, and which rows have an exchanged modality [B] bool.
    """
    rows = torch.arange(len(present), device=present.device).unsqueeze(1)  # [B, 1]
    order = torch.rand(present.shape, device=present.device).masked_fill(~present, 2.0).argsort(0)  # absent rows last
    count = present.sum(0)  # [M]
    following = order.gather(0, torch.where(rows < count, (rows + 1) % count.clamp(min=1), rows))
    donors = torch.empty_like(order).scatter(0, order, following)  # [B, M]
    possible = present & (count > 1) & (present.sum(1, keepdim=True) > 1)
    drawn = torch.rand(present.shape, device=present.device).masked_fill(~possible, -1.0).argmax(1, keepdim=True)
    exchanged = possible & (torch.arange(present.shape[1], device=present.device) == drawn)
    return donors.where(exchanged, rows), possible.any(1)


def select_rows(features: Features, rows: Tensor) -> Features:
    """Return the features of some rows.

    Args:
        features: of one modality.
        rows: row numbers [B] int64, in the order of the result.
    """
    tokens, mask = (None if part is None else part[rows] for part in (features.tokens, features.mask))
    return Features(features.pooled[rows], tokens, mask)
