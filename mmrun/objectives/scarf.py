"""Tables: know a row by a copy of which many cells come from other rows."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.contrastive import tell_apart
from mmrun.objectives.pretext import Pretext, both, checked_positive, checked_share
from mmrun.types import Features


class Scarf(Pretext):
    """Contrast with a corrupted copy (Bahri et al., 2022): a spoiled cell takes its column's value in another row."""

    alone = True

    def __init__(self, dim: int, ratio: float = 0.6, temperature: float = 1.0, projection_dim: int = 64) -> None:
        super().__init__()
        self.ratio = checked_share(ratio, "tabular")
        self.temperature = checked_positive(temperature, "tabular", "temperature")
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, projection_dim))

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return each row with its corrupted copy, and which rows can be contrasted."""
        numeric, categorical = _shuffled(x["numeric"], present), _shuffled(x["categorical"], present)
        new_number, new_category = (torch.rand(d.shape, device=d.device) < self.ratio for d in (numeric, categorical))
        copy = {
            "numeric": torch.where(new_number, x["numeric"].gather(0, numeric), x["numeric"]),
            "missing": torch.where(new_number, x["missing"].gather(0, numeric), x["missing"]),
            "categorical": torch.where(new_category, x["categorical"].gather(0, categorical), x["categorical"]),
        }
        return both(x, copy), present

    def loss(self, features: Features, wanted: Tensor) -> Tensor:  # [2B, D], [B] -> [B]
        """How hard the row finds its copy."""
        rows, copies = self.project(features.pooled).float().chunk(2)
        with torch.autocast(rows.device.type, enabled=False):
            return tell_apart(F.normalize(rows, dim=-1) @ F.normalize(copies, dim=-1).T / self.temperature, wanted)


def _shuffled(cells: Tensor, present: Tensor) -> Tensor:  # [B, F], [B] -> [B, F] int64
    """Draw for each cell a row to take its column's value from: a shuffle of those that are there."""
    drawn = torch.rand(cells.shape, device=cells.device).masked_fill(~present.unsqueeze(1), 2.0)
    order = drawn.argsort(0)  # the absent last
    turn = torch.arange(len(cells), device=cells.device) % present.sum().clamp(min=1)
    return order[turn]
