"""Small audio encoders that learn from scratch. Their tokens are steps in time."""

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


def _over_time(tokens: Tensor, length: Tensor, samples_per_token: int) -> Features:  # [B, T, D], [B] samples
    """Pool over the steps that begin before the sound ends."""
    begin = torch.arange(tokens.shape[1], device=tokens.device) * samples_per_token
    mask = readable(begin < length.unsqueeze(1))
    return Features(masked_mean(tokens, mask), tokens, mask)
