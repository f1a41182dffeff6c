"""Small audio encoders for training from scratch. Their tokens are steps in time."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmrun.models.encoders.convolution import Convolutions
from mmrun.models.encoders.logmel import Cepstrum, LogMel, MelScale, Normalization
from mmrun.models.encoders.sequence import masked_mean, unmask_empty_rows
from mmrun.types import Encoder, Features
from mmrun.values import Depth, Width, Widths


class LogMelCnn(Encoder):
    """A small 2D convolutional network over a log-mel spectrogram; all bands of a time step form a token.

    Args:
        sample_rate: in Hz.
        dim: D.
        channels: of each block; each halves time and bands.
        kernels: of each block, in frames and bands, odd.
        n_mels: bands of the spectrogram.
        n_fft: window, in samples.
        hop_length: from one window to the next, in samples.
        mel_scale: slaney or htk.
        normalize: fixed or clip; see `logmel.LogMel`.

    Raises:
        ConfigError: see `convolution.check_blocks` and `logmel.LogMel`.
    """

    kind = "audio"

    def __init__(
        self,
        sample_rate: int,
        dim: Width = 64,
        channels: Widths = (8, 16, 32, 64),
        kernels: Widths = (5, 3, 3, 3),
        n_mels: Width = 64,
        n_fft: Width = 256,
        hop_length: Width = 128,
        mel_scale: MelScale = "slaney",
        normalize: Normalization = "fixed",
    ) -> None:
        super().__init__()
        self.dim = dim
        self.logmel = LogMel(sample_rate, n_mels, n_fft, hop_length, mel_scale, normalize)
        self.blocks = Convolutions(1, channels, kernels)
        self.samples_per_token = hop_length * 2 ** len(channels)
        num_bands = -(-n_mels // 2 ** len(channels))  # each block halves them, rounded up
        self.mix = nn.Linear(channels[-1] * num_bands, dim)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: waveform [B, S] and length [B].

        Returns:
            Pooled [B, D], the mean over the real tokens, and tokens [B, T, D].
        """
        feature_map = self.blocks(self.logmel(x["waveform"]).unsqueeze(1))  # [B, C, bands, T]
        tokens = F.relu(self.mix(feature_map.flatten(1, 2).transpose(1, 2)))  # [B, T, D]
        return _pool_over_time(tokens, x["length"], self.samples_per_token)


class Mfcc(Encoder):
    """Convolutions over time on mel-frequency cepstral coefficients (Davis & Mermelstein, 1980).

    Args:
        sample_rate: in Hz.
        channels: of each block; each halves time. The last is D.
        n_mfcc: coefficients.
        n_mels: bands of the spectrogram.
        n_fft: window, in samples.
        hop_length: from one window to the next, in samples.
        mel_scale: slaney or htk.
        normalize: fixed or clip; see `logmel.LogMel`.

    Raises:
        ConfigError: see `logmel.LogMel`.
    """

    kind = "audio"

    def __init__(
        self,
        sample_rate: int,
        channels: Widths = (64, 128),
        n_mfcc: Width = 20,
        n_mels: Width = 64,
        n_fft: Width = 256,
        hop_length: Width = 128,
        mel_scale: MelScale = "slaney",
        normalize: Normalization = "fixed",
    ) -> None:
        super().__init__()
        self.dim = channels[-1]
        self.logmel = LogMel(sample_rate, n_mels, n_fft, hop_length, mel_scale, normalize)
        self.cepstrum = Cepstrum(n_mels, n_mfcc)
        self.norm = nn.BatchNorm1d(n_mfcc)
        self.blocks = nn.Sequential()
        for before, after in pairwise([n_mfcc, *channels]):
            block = nn.Sequential(
                nn.Conv1d(before, after, 5, padding=2, bias=False),
                nn.MaxPool1d(2, ceil_mode=True),
                nn.BatchNorm1d(after),
                nn.ReLU(),
            )
            self.blocks.append(block)
        self.samples_per_token = hop_length * 2 ** len(channels)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: waveform [B, S] and length [B].

        Returns:
            Pooled [B, D], the mean over the real tokens, and tokens [B, T, D].
        """
        coefficients = self.norm(self.cepstrum(self.logmel(x["waveform"])))  # [B, n_mfcc, frames]
        tokens = self.blocks(coefficients).transpose(1, 2)  # [B, T, D]
        return _pool_over_time(tokens, x["length"], self.samples_per_token)


class WaveNet(Encoder):
    """WaveNet: gated, dilated, causal convolutions on the waveform, with residual and skip connections.

    van den Oord et al., 2016. As in the paper's speech recognition, steps are pooled at the end. A strided convolution
    at the start makes this affordable: each layer works on S / stride steps. A batch norm, which the paper does not
    have, shortens the initial plateau of the loss by some epochs.

    Args:
        dim: D.
        channels: of each layer.
        num_layers: of a cycle; their dilations are 1, 2, 4 ... steps.
        num_cycles: how often the dilations start again at 1.
        kernel: of the dilated convolutions, in steps.
        stride: samples per step.
        pool: steps per token.
    """

    kind = "audio"

    def __init__(
        self,
        dim: Width = 64,
        channels: Width = 32,
        num_layers: Depth = 8,
        num_cycles: Depth = 1,
        kernel: Width = 2,
        stride: Width = 16,
        pool: Width = 10,
    ) -> None:
        super().__init__()
        self.dim, self.stride, self.pool = dim, stride, pool
        dilations = [2**layer for layer in range(num_layers)] * num_cycles
        self.receptive_field = stride * (2 + (kernel - 1) * sum(dilations))  # of a step, in samples, up to its last one
        self.inward = nn.Conv1d(1, channels, 2 * stride, stride)
        self.paddings = [(kernel - 1) * dilation for dilation in dilations]  # on the left, which makes them causal
        self.dilated = nn.ModuleList(nn.Conv1d(channels, 2 * channels, kernel, dilation=d) for d in dilations)
        self.residual = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in dilations[1:])
        self.skip = nn.Conv1d(len(dilations) * channels, dim, 1)  # the sum of all layers' skip connections, in one
        self.outward = nn.Sequential(nn.Conv1d(dim, dim, 1, bias=False), nn.BatchNorm1d(dim), nn.ReLU())

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: waveform [B, S] and length [B].

        Returns:
            Pooled [B, D], the mean over the real tokens, and tokens [B, T, D], one per stride * pool samples.
        """
        waveform = x["waveform"].unsqueeze(1)  # [B, 1, S]
        companded = waveform.sign() * torch.log1p(255 * waveform.abs()) / math.log(256)  # mu-law, raises quiet sounds
        steps = self.inward(F.pad(companded, (self.stride, -companded.shape[2] % self.stride)))  # [B, channels, steps]
        skipped = []
        for layer, (padding, dilated) in enumerate(zip(self.paddings, self.dilated, strict=True)):
            signal, gate = dilated(F.pad(steps, (padding, 0))).chunk(2, dim=1)
            gated = signal.tanh() * gate.sigmoid()
            skipped.append(gated)
            if layer < len(self.residual):
                steps = steps + self.residual[layer](gated)
        rectified = F.relu(self.skip(torch.cat(skipped, dim=1)))  # before pooling: the mean of an oscillation is zero
        tokens = self.outward(F.avg_pool1d(rectified, self.pool, ceil_mode=True)).transpose(1, 2)  # [B, T, D]
        return _pool_over_time(tokens, x["length"], self.stride * self.pool)


def _pool_over_time(tokens: Tensor, length: Tensor, samples_per_token: int) -> Features:  # [B, T, D], [B] samples
    """Average the tokens that begin before the sound ends."""
    begin = torch.arange(tokens.shape[1], device=tokens.device) * samples_per_token
    mask = unmask_empty_rows(begin < length.unsqueeze(1))
    return Features(masked_mean(tokens, mask), tokens, mask)
