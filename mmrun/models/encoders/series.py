"""Time series encoders for training from scratch: sensors, physiology, anything sampled in steps."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from mmrun.models.encoders.convolution import check_blocks
from mmrun.models.encoders.sequence import (
    Cell,
    Recurrent,
    find_last_tokens,
    masked_mean,
    select_tokens,
    unmask_empty_rows,
)
from mmrun.types import Encoder, Features
from mmrun.values import Depth, ShareBelow1, Width, Widths


class StepNorm(nn.LayerNorm):
    """Layer norm (Ba et al., 2016) of each time step over its channels: unlike batch norm, it ignores padding.

    Args:
        normalized_shape: C.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise.

        Args:
            x: [B, C, T].

        Returns:
            [B, C, T].
        """
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Cnn1d(Encoder):
    """Convolutions over time; each block halves the length (after the fully convolutional net of Wang et al., 2017).

    Args:
        in_channels: C.
        channels: of each block; the last is D.
        kernels: of each block, in steps, odd.
        dropout: after each block.

    Raises:
        ConfigError: see `convolution.check_blocks`.
    """

    kind = "series"

    def __init__(
        self,
        in_channels: int,
        channels: Widths = (32, 64, 128),
        kernels: Widths = (7, 5, 3),
        dropout: ShareBelow1 = 0.1,
    ) -> None:
        super().__init__()
        check_blocks(channels, kernels)
        self.dim = channels[-1]
        self.convolutions = nn.ModuleList()
        for (before, after), kernel in zip(pairwise([in_channels, *channels]), kernels, strict=True):
            self.convolutions.append(nn.Conv1d(before, after, kernel, stride=2, padding=kernel // 2))
        self.norms = nn.ModuleList(StepNorm(width) for width in channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: values [B, C, T] and mask [B, T].

        Returns:
            Pooled [B, D], the mean over the real tokens, and tokens [B, T', D]; each block halves T, rounded up.
        """
        values, mask = x["values"], unmask_empty_rows(x["mask"])  # [B, C, T], [B, T]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            values = convolution(values * mask.unsqueeze(1))
            values, mask = self.dropout(F.relu(norm(values))), mask[:, ::2]
        tokens = values.transpose(1, 2)  # [B, T', D]
        return Features(masked_mean(tokens, mask), tokens, mask)


class Rnn(Encoder):
    """GRU (Cho et al., 2014) or LSTM (Hochreiter & Schmidhuber, 1997) over the steps; the last state is pooled.

    Args:
        in_channels: C.
        cell: gru or lstm.
        dim: D; half of it for each direction if bidirectional.
        num_layers: of each direction.
        bidirectional: False reads forward only.
        dropout: between layers.

    Raises:
        ConfigError: see `sequence.Recurrent`.
    """

    kind = "series"

    def __init__(
        self,
        in_channels: int,
        cell: Cell,
        dim: Width = 128,
        num_layers: Depth = 1,
        bidirectional: bool = True,
        dropout: ShareBelow1 = 0.1,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.recurrent = Recurrent(cell, in_channels, dim, num_layers, bidirectional, dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: values [B, C, T] and mask [B, T].

        Returns:
            Pooled [B, D] and tokens [B, T, D].
        """
        features: Features = self.recurrent(x["values"].transpose(1, 2), unmask_empty_rows(x["mask"]))
        return features


class Tcn(Encoder):
    """Temporal convolutional network (Bai et al., 2018), with layer norms for weight norms; the last step is pooled.

    Args:
        in_channels: C.
        dim: D.
        num_levels: level i is dilated by 2^i steps.
        kernel: of each convolution, in steps.
        dropout: after each convolution.
    """

    kind = "series"

    def __init__(
        self, in_channels: int, dim: Width = 64, num_levels: Depth = 5, kernel: Width = 3, dropout: ShareBelow1 = 0.1
    ) -> None:
        super().__init__()
        self.dim = dim
        self.inward = nn.Conv1d(in_channels, dim, 1)
        self.levels = nn.Sequential(*(_Level(dim, kernel, 2**level, dropout) for level in range(num_levels)))

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: values [B, C, T] and mask [B, T].

        Returns:
            Pooled [B, D] and tokens [B, T, D]; a token depends on its own and earlier steps only.
        """
        mask = unmask_empty_rows(x["mask"])
        tokens = self.levels(self.inward(x["values"])).transpose(1, 2)  # [B, T, D]
        return Features(select_tokens(tokens, find_last_tokens(mask)), tokens, mask)


class _Level(nn.Module):
    """Two dilated causal convolutions, their residual sum and a ReLU: no step sees a later one, and so no padding."""

    def __init__(self, dim: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        padding = nn.ConstantPad1d(((kernel - 1) * dilation, 0), 0.0)
        self.net = nn.Sequential()
        for _ in range(2):
            layer = nn.Sequential(
                padding,
                nn.Conv1d(dim, dim, kernel, dilation=dilation),
                StepNorm(dim),
                nn.ReLU(),
                nn.Dropout(dropout),
            )
            self.net.append(layer)

    def forward(self, x: Tensor) -> Tensor:  # [B, D, T] -> [B, D, T]
        output: Tensor = F.relu(x + self.net(x))
        return output
