"""Tables and series: recover the cells or times that were hidden."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.pretext import GridDecoder, Pretext, checked_share, hidden_blocks
from mmrun.types import Features


class DenoiseTabular(Pretext):
    """A denoising autoencoder of a row's cells (Vincent et al., 2010): some go missing, the other numbers get noise."""

    def __init__(
        self,
        dim: int,
        num_numeric: int,
        cardinalities: Sequence[int],
        ratio: float = 0.3,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        self.ratio = checked_share(ratio, "tabular")
        self.noise = noise
        self.widths = [num_numeric, *cardinalities]
        self.decoder = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, sum(self.widths)))

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Take cells away, as if they were missing, and add noise to the numbers."""
        return lose_cells(x, self.ratio, self.noise), x

    def loss(self, features: Features, wanted: dict[str, Tensor]) -> Tensor:  # [B]
        """Mean over a row's cells that really have a value: squared error of a number, cross-entropy of a category."""
        numbers, *logits = self.decoder(features.pooled).float().split(self.widths, -1)
        real = torch.cat([~wanted["missing"], wanted["categorical"] > 0], 1)  # [B, F + K]
        each = [(numbers - wanted["numeric"]).square()]
        for column, category in zip(logits, wanted["categorical"].unbind(1), strict=True):
            each.append(F.cross_entropy(column, category, reduction="none").unsqueeze(1))
        return (torch.cat(each, 1) * real).sum(1) / real.sum(1).clamp(min=1)


def lose_cells(x: dict[str, Tensor], ratio: float, noise: float) -> dict[str, Tensor]:
    """Drop a share of a table's cells, and add noise to the other numbers."""
    numeric, missing, categorical = x["numeric"], x["missing"], x["categorical"]  # [B, F], [B, F], [B, K]
    gone = torch.rand(numeric.shape, device=numeric.device) < ratio
    noisy = numeric + noise * torch.randn_like(numeric)
    dropped = torch.rand(categorical.shape, device=numeric.device) < ratio
    return {
        "numeric": noisy.masked_fill(gone | missing, 0),
        "missing": missing | gone,
        "categorical": categorical.masked_fill(dropped, 0),
    }


class DenoiseSeries(Pretext):
    """Hides spans of time in all channels (Zerveas et al., 2021), and decodes all of it from the pooled vector."""

    def __init__(self, dim: int, in_channels: int, num_steps: int, ratio: float = 0.4, spans: int = 16) -> None:
        super().__init__()
        self.ratio = checked_share(ratio, "series")
        self.spans = spans
        self.decoder = GridDecoder(dim, in_channels, 1, num_steps)

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Set some of `spans` equal spans of time to 0, the mean."""
        values = x["values"]  # [B, C, T]
        hidden = hidden_blocks(values, self.ratio, (self.spans,), (values.shape[2],))
        return {**x, "values": values.masked_fill(hidden, 0)}, x

    def loss(self, features: Features, wanted: dict[str, Tensor]) -> Tensor:  # [B]
        """Mean squared error over the real steps."""
        error = (self.decoder(features.pooled).squeeze(2) - wanted["values"]).square().mean(1)  # [B, T]
        return (error * wanted["mask"]).sum(1) / wanted["mask"].sum(1).clamp(min=1)
