"""Encoders of time series: sensors, physiology, anything sampled in steps. They learn from scratch."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from mmrun.models.encoders.convolution import check_blocks
from mmrun.models.encoders.sequence import Recurrent, at, last_position, masked_mean, readable
from mmrun.types import Encoder, Features


class StepNorm(nn.LayerNorm):
    """Normalises each time step over its channels: padding and other rows have no say, as in batch norms."""

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T] -> [B, C, T]
        """Normalise."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Cnn1d(Encoder):
    """Convolutions over time, each block half as long (after the fully convolutional net of Wang et al. 2017)."""

    kind = "series"

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (32, 64, 128),
        kernels: Sequence[int] = (7, 5, 3),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_blocks(channels, kernels)
        self.dim = channels[-1]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, kernel, stride=2, padding=kernel // 2)
            for (before, after), kernel in zip(pairwise([in_channels, *channels]), kernels, strict=True)
        )
        self.norms = nn.ModuleList(StepNorm(width) for width in channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        values, mask = x["values"], readable(x["mask"])  # [B, C, T], [B, T]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            values = convolution(values * mask.unsqueeze(1))
            values, mask = self.dropout(F.relu(norm(values))), mask[:, ::2]
        tokens = values.transpose(1, 2)  # [B, T', D]
        return Features(masked_mean(tokens, mask), tokens, mask)


class Rnn(Encoder):
    """A GRU or LSTM over the steps; pooled: the last state."""

    kind = "series"

    def __init__(
        self,
        in_channels: int,
        cell: str,
        dim: int = 128,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.recurrent = Recurrent(cell, in_channels, dim, num_layers, bidirectional, dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        return self.recurrent(x["values"].transpose(1, 2), readable(x["mask"]))


class Tcn(Encoder):
    """A temporal convolutional network (Bai et al. 2018), layer norms for its weight norms; pooled: the last step."""

    kind = "series"

    def __init__(
        self, in_channels: int, dim: int = 64, num_levels: int = 5, kernel: int = 3, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.dim = dim
        self.inward = nn.Conv1d(in_channels, dim, 1)
        self.levels = nn.Sequential(*(_Level(dim, kernel, 2**level, dropout) for level in range(num_levels)))

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        mask = readable(x["mask"])
        tokens = self.levels(self.inward(x["values"])).transpose(1, 2)  # [B, T, D]
        return Features(at(tokens, last_position(mask)), tokens, mask)


class _Level(nn.Module):
    """Two dilated causal convolutions, added to what they read: a step never sees a later one, so no padding either."""

    def __init__(self, dim: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        past = nn.ConstantPad1d(((kernel - 1) * dilation, 0), 0.0)
        self.net = nn.Sequential(
            *(
                nn.Sequential(
                    past, nn.Conv1d(dim, dim, kernel, dilation=dilation), StepNorm(dim), nn.ReLU(), nn.Dropout(dropout)
                )
                for _ in range(2)
            )
        )

    def forward(self, x: Tensor) -> Tensor:  # [B, D, T] -> [B, D, T]
        return x + self.net(x)
