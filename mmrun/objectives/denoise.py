"""Tables and series: recover hidden cells or spans of time."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.pretext import GridDecoder, Pretext, check_share, draw_hidden_spans
from mmrun.types import Features
from mmrun.values import NonNegativeFloat, PositiveShare, Width


class DenoiseTabular(Pretext):
    """A denoising autoencoder of a row's cells (Vincent et al., 2010): some go missing, other numbers get noise.

    Args:
        dim: width of the encoder's features.
        num_numeric: F, number of numeric columns.
        cardinalities: number of categories of each of the K categorical columns, 0 included.
        ratio: probability that a cell goes missing.
        noise: standard deviation of the noise on standardised numbers.

    Raises:
        ConfigError: `ratio` is out of range.
    """

    def __init__(
        self,
        dim: int,
        num_numeric: int,
        cardinalities: Sequence[int],
        ratio: PositiveShare = 0.3,
        noise: NonNegativeFloat = 0.1,
    ) -> None:
        super().__init__()
        self.ratio = check_share(ratio, "tabular")
        self.noise = noise
        self.widths = [num_numeric, *cardinalities]
        self.decoder = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, sum(self.widths)))

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the table with dropped cells and noisy numbers, and the table itself.

        Args:
            x: table of B rows.
            present: is not used.
        """
        return drop_cells(x, self.ratio, self.noise), x

    def loss(self, features: Features, target: dict[str, Tensor]) -> Tensor:
        """Return the mean over a row's cells that have a value, [B].

        Numbers have the squared error, categories the cross-entropy.

        Args:
            features: pooled [B, D].
            target: the table.
        """
        numbers, *logits = self.decoder(features.pooled).float().split(self.widths, -1)
        real = torch.cat([~target["missing"], target["categorical"] > 0], 1)  # [B, F + K]
        losses = [(numbers - target["numeric"]).square()]
        for column, category in zip(logits, target["categorical"].unbind(1), strict=True):
            losses.append(F.cross_entropy(column, category, reduction="none").unsqueeze(1))
        return (torch.cat(losses, 1) * real).sum(1) / real.sum(1).clamp(min=1)


def drop_cells(x: dict[str, Tensor], ratio: float, noise: float) -> dict[str, Tensor]:
    """Return a table some of whose cells are missing, with noise on the other numbers.

    Args:
        x: table of B rows; it is not changed.
        ratio: probability that a cell goes missing.
        noise: standard deviation of the noise.
    """
    numeric, missing, categorical = x["numeric"], x["missing"], x["categorical"]  # [B, F], [B, F], [B, K]
    dropped = torch.rand(numeric.shape, device=numeric.device) < ratio
    noisy = numeric + noise * torch.randn_like(numeric)
    dropped_categories = torch.rand(categorical.shape, device=numeric.device) < ratio
    return {
        "numeric": noisy.masked_fill(dropped | missing, 0),
        "missing": missing | dropped,
        "categorical": categorical.masked_fill(dropped_categories, 0),
    }


class DenoiseSeries(Pretext):
    """Masked spans of time, in all channels (Zerveas et al., 2021); only hidden steps count.

    The series is decoded from the pooled vector.

    Args:
        dim: width of the encoder's features.
        in_channels: C, of the series.
        num_steps: of the longest series, at least T.
        ratio: probability that a span is hidden; one at least is.
        spans: number of equal spans that the longest series is cut into.

    Raises:
        ConfigError: `ratio` is out of range.
    """

    def __init__(
        self, dim: int, in_channels: int, num_steps: int, ratio: PositiveShare = 0.4, spans: Width = 16
    ) -> None:
        super().__init__()
        self.ratio = check_share(ratio, "series")
        self.num_steps, self.spans = num_steps, spans
        self.decoder = GridDecoder(dim, in_channels, 1, num_steps)

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the series with hidden spans set to 0, the mean; and the target: values, and hidden real steps.

        Args:
            x: series of B rows.
            present: is not used.
        """
        hidden = draw_hidden_spans(x["mask"], self.ratio, self.spans, self.num_steps)  # [B, T]
        corrupted = x["values"].masked_fill(hidden.unsqueeze(1), 0)
        return {**x, "values": corrupted}, {"values": x["values"], "hidden": hidden & x["mask"]}

    def loss(self, features: Features, target: dict[str, Tensor]) -> Tensor:
        """Return the mean squared error over the hidden steps, [B].

        Args:
            features: pooled [B, D].
            target: that `corrupt` returned.
        """
        decoded: Tensor = self.decoder(features.pooled).squeeze(2)[..., : target["hidden"].shape[1]]  # [B, C, T]
        error = (decoded - target["values"]).square().mean(1)  # [B, T]
        return (error * target["hidden"]).sum(1) / target["hidden"].sum(1).clamp(min=1)
