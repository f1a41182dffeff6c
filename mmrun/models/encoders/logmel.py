"""Waveforms -> log-mel spectrograms, on the device where the model is."""

import math

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError

SILENCE = 1e-8  # power under which all is silence: 80 dB below what it is measured against


class LogMel(nn.Module):
    """Natural log of the power in mel bands, roughly standardised. It has nothing to learn and nothing to save.

    Power is relative to a full-scale tone, whatever the window. With normalize="clip" it is relative to the loudest
    cell of the clip instead, so that how loud a recording is does not matter; padding changes neither.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int,
        n_mels: int = 64,
        n_fft: int = 256,
        hop_length: int = 128,
        mel_scale: str = "slaney",
        normalize: str = "fixed",
    ) -> None:
        super().__init__()
        if normalize not in ("fixed", "clip"):
            raise ConfigError(f"normalize={normalize!r}: a spectrogram is normalised fixed or by clip")
        self.sample_rate, self.n_mels = sample_rate, n_mels
        self.n_fft, self.hop_length = n_fft, hop_length
        self.normalize = normalize
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filters", mel_filters(sample_rate, n_fft, n_mels, mel_scale), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:  # [B, S] -> [B, n_mels, 1 + S // hop_length]
        """Transform a batch of clips."""
        with torch.autocast(waveform.device.type, enabled=False):  # silence is below what 16 bits can say
            spectrum = torch.stft(
                waveform.float(), self.n_fft, self.hop_length, window=self.window, return_complex=True
            )
            power = spectrum.real.square() + spectrum.imag.square()  # [B, n_fft // 2 + 1, frames]
            bands = self.filters @ power / self.window.sum().square()
            if self.normalize == "clip":
                loudest = bands.amax(dim=(1, 2), keepdim=True).clamp(min=1e-20)
                return ((bands / loudest).clamp(min=SILENCE).log() + 8.0) / 3.0
            return (bands.clamp(min=SILENCE).log() + 11.0) / 2.5


def mel_filters(sample_rate: int, n_fft: int, n_mels: int, mel_scale: str) -> Tensor:  # [n_mels, n_fft // 2 + 1]
    """Make triangles with a peak of 1, evenly spaced from 0 Hz to half the sample rate on the mel scale.

    HTK's scale (O'Shaughnessy 1987) is logarithmic throughout, Slaney's (1998) linear below 1 kHz: with a short window
    it leaves no low band without a frequency.
    """
    if mel_scale not in ("htk", "slaney"):
        raise ConfigError(f"mel_scale={mel_scale!r}: mel scales are htk and slaney")
    top = torch.tensor(sample_rate / 2, dtype=torch.float64)
    if mel_scale == "htk":
        edges = 700 * (10 ** (torch.linspace(0, 1, n_mels + 2, dtype=torch.float64) * torch.log10(1 + top / 700)) - 1)
    else:
        edges = _slaney_hertz(torch.linspace(0, 1, n_mels + 2, dtype=torch.float64) * _slaney_mel(top))
    hertz = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    rising = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


def _slaney_mel(hertz: Tensor) -> Tensor:
    return torch.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * torch.log(hertz / 1000) / math.log(6.4))


def _slaney_hertz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * math.log(6.4) / 27))


class Cepstrum(nn.Module):
    """The first cosine coefficients of each log-mel frame: MFCC (Davis & Mermelstein 1980)."""

    cosines: Tensor

    def __init__(self, n_mels: int, n_mfcc: int) -> None:
        super().__init__()
        angle = torch.outer(torch.arange(n_mfcc), torch.arange(n_mels) + 0.5) * math.pi / n_mels
        cosines = torch.cos(angle) * math.sqrt(2 / n_mels)
        cosines[0] /= math.sqrt(2)
        self.register_buffer("cosines", cosines, persistent=False)  # [n_mfcc, n_mels], orthonormal rows

    def forward(self, logmel: Tensor) -> Tensor:  # [B, n_mels, frames] -> [B, n_mfcc, frames]
        """Transform a batch of frames."""
        return self.cosines @ logmel
