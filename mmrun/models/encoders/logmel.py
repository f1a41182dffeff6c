"""Log-mel spectrograms and cepstral coefficients, computed on the model's device."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.values import Width

MelScale = Literal["slaney", "htk"]
Normalization = Literal["fixed", "clip"]

SILENCE = 1e-8  # floor of the power: 80 dB below the reference


class LogMel(nn.Module):
    """Natural log of the power in mel bands, roughly standardised. It has no parameters and no saved buffers.

    `waves` is for formats without complex numbers: with `build_waves()` instead of None, a convolution replaces the
    FFT.

    Args:
        sample_rate: in Hz.
        n_mels: bands.
        n_fft: window, in samples.
        hop_length: from one window to the next, in samples.
        mel_scale: slaney or htk; see `build_mel_filters`.
        normalize: fixed: power is relative to a full-scale tone, whatever the window; clip: it is relative to the
            loudest cell of the clip, so that the level of a recording does not matter. Padding changes neither.

    Raises:
        ConfigError: `normalize` or `mel_scale` is none of these.
    """

    window: Tensor
    filters: Tensor
    waves: Tensor | None

    def __init__(
        self,
        sample_rate: int,
        n_mels: Width = 64,
        n_fft: Width = 256,
        hop_length: Width = 128,
        mel_scale: MelScale = "slaney",
        normalize: Normalization = "fixed",
    ) -> None:
        super().__init__()
        if normalize not in ("fixed", "clip"):
            raise ConfigError(f"normalize={normalize!r}: choose fixed or clip")
        self.sample_rate, self.n_mels = sample_rate, n_mels
        self.n_fft, self.hop_length = n_fft, hop_length
        self.normalize = normalize
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filters", build_mel_filters(sample_rate, n_fft, n_mels, mel_scale), persistent=False)
        self.register_buffer("waves", None, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Transform a batch of clips.

        Args:
            waveform: [B, S], -1..1.

        Returns:
            [B, n_mels, 1 + S // hop_length].
        """
        with torch.autocast(waveform.device.type, enabled=False):  # silence is below the precision of 16 bits
            power = self._compute_power(waveform.float())  # [B, n_fft // 2 + 1, frames]
            bands = self.filters @ power / self.window.sum().square()
            if self.normalize == "clip":
                loudest = bands.amax(dim=(1, 2), keepdim=True).clamp(min=1e-20)
                return ((bands / loudest).clamp(min=SILENCE).log() + 8.0) / 3.0
            return (bands.clamp(min=SILENCE).log() + 11.0) / 2.5

    def _compute_power(self, waveform: Tensor) -> Tensor:
        if self.waves is not None:
            padded = F.pad(waveform[:, None], (self.n_fft // 2, self.n_fft // 2), mode="reflect")
            real, imaginary = F.conv1d(padded, self.waves, stride=self.hop_length).chunk(2, dim=1)
            return real.square() + imaginary.square()
        spectrum = torch.stft(waveform, self.n_fft, self.hop_length, window=self.window, return_complex=True)
        return spectrum.real.square() + spectrum.imag.square()

    def build_waves(self) -> Tensor:
        """Build the cosines, then the sines, whose products with a window are its Fourier transform.

        Returns:
            [2 * (n_fft // 2 + 1), 1, n_fft].
        """
        samples = torch.arange(self.n_fft, dtype=torch.float64)
        angle = torch.outer(samples[: self.n_fft // 2 + 1], samples) * (2 * math.pi / self.n_fft)
        return (torch.cat([angle.cos(), angle.sin()])[:, None] * self.window.double()).float()


def build_mel_filters(sample_rate: int, n_fft: int, n_mels: int, mel_scale: MelScale) -> Tensor:
    """Build triangular filters with a peak of 1, evenly spaced on the mel scale from 0 Hz to half the sample rate.

    Args:
        sample_rate: in Hz.
        n_fft: window of the spectrum, in samples.
        n_mels: filters.
        mel_scale: htk (O'Shaughnessy, 1987) is logarithmic throughout; slaney (Slaney, 1998) is linear below 1 kHz, so
            that low bands are not empty with a short window.

    Returns:
        [n_mels, n_fft // 2 + 1].

    Raises:
        ConfigError: `mel_scale` is neither.
    """
    if mel_scale not in ("htk", "slaney"):
        raise ConfigError(f"mel_scale={mel_scale!r}: choose slaney or htk")
    top = torch.tensor(sample_rate / 2, dtype=torch.float64)
    if mel_scale == "htk":
        edges = 700 * (10 ** (torch.linspace(0, 1, n_mels + 2, dtype=torch.float64) * torch.log10(1 + top / 700)) - 1)
    else:
        edges = _mel_to_hertz(torch.linspace(0, 1, n_mels + 2, dtype=torch.float64) * _hertz_to_mel(top))
    hertz = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    rising = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


def _hertz_to_mel(hertz: Tensor) -> Tensor:
    """Convert to Slaney's mel scale."""
    return torch.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * torch.log(hertz / 1000) / math.log(6.4))


def _mel_to_hertz(mel: Tensor) -> Tensor:
    """Convert from Slaney's mel scale."""
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * math.log(6.4) / 27))


class Cepstrum(nn.Module):
    """The first coefficients of each log-mel frame's cosine transform: MFCC (Davis & Mermelstein, 1980).

    Args:
        n_mels: bands.
        n_mfcc: coefficients.
    """

    cosines: Tensor

    def __init__(self, n_mels: int, n_mfcc: int) -> None:
        super().__init__()
        angle = torch.outer(torch.arange(n_mfcc), torch.arange(n_mels) + 0.5) * math.pi / n_mels
        cosines = torch.cos(angle) * math.sqrt(2 / n_mels)
        cosines[0] /= math.sqrt(2)
        self.register_buffer("cosines", cosines, persistent=False)  # [n_mfcc, n_mels], orthonormal rows

    def forward(self, logmel: Tensor) -> Tensor:
        """Transform a batch of spectrograms.

        Args:
            logmel: [B, n_mels, frames].

        Returns:
            [B, n_mfcc, frames].
        """
        return self.cosines @ logmel
