"""Tables: identify a row by a copy of it many of whose cells come from other rows."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.contrastive import diagonal_cross_entropy
from mmrun.objectives.gather import gather_rows, select_own_rows
from mmrun.objectives.pretext import Pretext, check_positive, check_share, concat_views
from mmrun.types import Features
from mmrun.values import PositiveFloat, PositiveShare, Width


class Scarf(Pretext):
    """SCARF (Bahri et al., 2022): contrast with a corrupted copy, whose cells take values of other rows.

    Args:
        dim: width of the encoder's features.
        ratio: probability that a cell of the copy is corrupted.
        temperature: divides the cosine similarities.
        projection_dim: width of the space in which rows are compared.

    Raises:
        ConfigError: an argument is out of range.
    """

    alone = True

    def __init__(
        self, dim: int, ratio: PositiveShare = 0.6, temperature: PositiveFloat = 1.0, projection_dim: Width = 64
    ) -> None:
        super().__init__()
        self.ratio = check_share(ratio, "tabular")
        self.temperature = check_positive(temperature, "tabular", "temperature")
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, projection_dim))

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return each row and then its corrupted copy [2B], and which rows can be contrasted.

        Args:
            x: table of B rows.
            present: [B] bool; values come from present rows alone.
        """
        numeric, categorical = _draw_donors(x["numeric"], present), _draw_donors(x["categorical"], present)
        new_number, new_category = (torch.rand(d.shape, device=d.device) < self.ratio for d in (numeric, categorical))
        copy = {
            "numeric": torch.where(new_number, x["numeric"].gather(0, numeric), x["numeric"]),
            "missing": torch.where(new_number, x["missing"].gather(0, numeric), x["missing"]),
            "categorical": torch.where(new_category, x["categorical"].gather(0, categorical), x["categorical"]),
        }
        return concat_views(x, copy), present

    def loss(self, features: Features, target: Tensor) -> Tensor:
        """Return the cross-entropy of identifying a row's copy, [B].

        Args:
            features: of rows and copies, pooled [2B, D].
            target: [B] bool, rows that are present.
        """
        rows, copies = self.project(features.pooled).float().chunk(2)
        with torch.autocast(rows.device.type, enabled=False):
            if self.training:
                rows, copies, target = (gather_rows(part) for part in (rows, copies, target))
            cosine = F.normalize(rows, dim=-1) @ F.normalize(copies, dim=-1).T
            losses = diagonal_cross_entropy(cosine / self.temperature, target)
        return select_own_rows(losses) if self.training else losses


def _draw_donors(cells: Tensor, present: Tensor) -> Tensor:  # [B, F], [B] -> [B, F] int64
    """Draw for each cell the row whose value it may take: a shuffle, by column, of the present rows."""
    drawn = torch.rand(cells.shape, device=cells.device).masked_fill(~present.unsqueeze(1), 2.0)
    order = drawn.argsort(0)  # absent rows last
    turn = torch.arange(len(cells), device=cells.device) % present.sum().clamp(min=1)
    return order[turn]
