"""Small audio encoders that learn from scratch. Their tokens are steps in time."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmrun.models.encoders.convolution import Convolutions
from mmrun.models.encoders.logmel import Cepstrum, LogMel
from mmrun.models.encoders.sequence import masked_mean, readable
from mmrun.types import Encoder, Features


class LogMelCnn(Encoder):
    """A log-mel spectrogram, read as a picture by a small convolutional net; all bands of a time step make a token."""

    kind = "audio"

    def __init__(
        self,
        sample_rate: int,
        dim: int = 64,
        channels: Sequence[int] = (8, 16, 32, 64),
        kernels: Sequence[int] = (5, 3, 3, 3),
        n_mels: int = 64,
        n_fft: int = 256,
        hop_length: int = 128,
        mel_scale: str = "slaney",
        normalize: str = "fixed",
    ) -> None:
        super().__init__()
        self.dim = dim
        self.logmel = LogMel(sample_rate, n_mels, n_fft, hop_length, mel_scale, normalize)
        self.blocks = Convolutions(1, channels, kernels)
        self.samples_per_token = hop_length * 2 ** len(channels)
        num_bands = -(-n_mels // 2 ** len(channels))  # each block halves them, rounded up
        self.mix = nn.Linear(channels[-1] * num_bands, dim)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        picture = self.blocks(self.logmel(x["waveform"]).unsqueeze(1))  # [B, C, bands, T]
        tokens = F.relu(self.mix(picture.flatten(1, 2).transpose(1, 2)))  # [B, T, D]
        return _over_time(tokens, x["length"], self.samples_per_token)


class Mfcc(Encoder):
    """Mel-frequency cepstral coefficients, read by convolutions over time."""

    kind = "audio"

    def __init__(
        self,
        sample_rate: int,
        channels: Sequence[int] = (64, 128),
        n_mfcc: int = 20,
        n_mels: int = 64,
        n_fft: int = 256,
        hop_length: int = 128,
        mel_scale: str = "slaney",
        normalize: str = "fixed",
    ) -> None:
        super().__init__()
        self.dim = channels[-1]
        self.logmel = LogMel(sample_rate, n_mels, n_fft, hop_length, mel_scale, normalize)
        self.cepstrum = Cepstrum(n_mels, n_mfcc)
        self.norm = nn.BatchNorm1d(n_mfcc)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv1d(before, after, 5, padding=2, bias=False),
                    nn.MaxPool1d(2, ceil_mode=True),
                    nn.BatchNorm1d(after),
                    nn.ReLU(),
                )
                for before, after in pairwise([n_mfcc, *channels])
            )
        )
        self.samples_per_token = hop_length * 2 ** len(channels)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        coefficients = self.norm(self.cepstrum(self.logmel(x["waveform"])))  # [B, n_mfcc, frames]
        tokens = self.blocks(coefficients).transpose(1, 2)  # [B, T, D]
        return _over_time(tokens, x["length"], self.samples_per_token)


class WaveNet(Encoder):
    """Gated, dilated, causal convolutions on the wave itself, with residual and skip ways (van den Oord et al. 2016).

    As in the paper's speech recognition they are pooled to coarse steps at the end. A strided convolution at the
    beginning makes that affordable: each layer works on S / stride steps. A batch norm, which the paper has not, spares
    some epochs at the beginning, in which nothing is learned.
    """

    kind = "audio"

    def __init__(
        self,
        dim: int = 64,
        channels: int = 32,
        num_layers: int = 8,
        num_cycles: int = 1,
        kernel: int = 2,
        stride: int = 16,
        pool: int = 10,
    ) -> None:
        super().__init__()
        self.dim, self.stride, self.pool = dim, stride, pool
        dilations = [2**layer for layer in range(num_layers)] * num_cycles
        self.receptive_field = stride * (2 + (kernel - 1) * sum(dilations))  # samples that a step hears, its own last
        self.inward = nn.Conv1d(1, channels, 2 * stride, stride)
        self.past = [(kernel - 1) * dilation for dilation in dilations]
        self.dilated = nn.ModuleList(nn.Conv1d(channels, 2 * channels, kernel, dilation=d) for d in dilations)
        self.residual = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in dilations[1:])
        self.skip = nn.Conv1d(len(dilations) * channels, dim, 1)  # of all layers: their skip ways' sum
        self.outward = nn.Sequential(nn.Conv1d(dim, dim, 1, bias=False), nn.BatchNorm1d(dim), nn.ReLU())

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        waveform = x["waveform"].unsqueeze(1)  # [B, 1, S]
        loud = waveform.sign() * torch.log1p(255 * waveform.abs()) / math.log(256)  # mu-law: quiet sounds are heard too
        steps = self.inward(F.pad(loud, (self.stride, -loud.shape[2] % self.stride)))  # [B, C, steps]
        skipped = []
        for layer, (past, dilated) in enumerate(zip(self.past, self.dilated, strict=True)):
            signal, gate = dilated(F.pad(steps, (past, 0))).chunk(2, dim=1)
            gated = signal.tanh() * gate.sigmoid()
            skipped.append(gated)
            if layer < len(self.residual):
                steps = steps + self.residual[layer](gated)
        heard = F.relu(self.skip(torch.cat(skipped, dim=1)))  # rectified first: the mean of a vibration is zero
        tokens = self.outward(F.avg_pool1d(heard, self.pool, ceil_mode=True)).transpose(1, 2)  # [B, T, D]
        return _over_time(tokens, x["length"], self.stride * self.pool)


def _over_time(tokens: Tensor, length: Tensor, samples_per_token: int) -> Features:  # [B, T, D], [B] samples
    """Pool over the steps that begin before the sound ends."""
    begin = torch.arange(tokens.shape[1], device=tokens.device) * samples_per_token
    mask = readable(begin < length.unsqueeze(1))
    return Features(masked_mean(tokens, mask), tokens, mask)
