"""Augmentation of sound, and the operations on waveforms that it consists of."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.objectives.augmentations.draw import accumulate, draw_spans, draw_uniform, sample_linearly
from mmrun.types import Augmentation
from mmrun.values import NonNegativeFloat, Range, Share, ShareBelow1

Semitones = Annotated[float, Range(at_least=0, at_most=12)]
Seconds = Annotated[float, Range(at_least=0, at_most=10)]

WINDOW = 0.032  # s, of the spectrum
NUM_MASKS = 2  # of time and of frequency, as in most policies of SpecAugment
NUM_BINS = 5  # that a tone fills, over which its frequency is averaged
DECAY = 3 * math.log(10)  # a sound is 60 dB quieter after its reverberation time


class AugmentAudio(Augmentation):
    """Speed, pitch, reverberation, shift, gain, white noise, and masked spans of time and frequency, in this order.

    Samples stay in -1..1. At 0 an operation is left out.

    Args:
        shift: largest shift, as a share of the length, 0..1 (Salamon & Bello, 2017). A clip keeps its length: what is
            shifted beyond one end is lost, and the other end becomes silent.
        gain: largest change of the volume, in dB.
        snr: lowest signal-to-noise ratio, in dB; None: no noise.
        speed: largest relative change of the speed, which changes pitch and length (Ko et al., 2015). What a slower
            clip no longer has room for is lost.
        pitch: largest change of the pitch at the same length, in semitones.
        reverb: longest reverberation time, in seconds: decaying noise (Polack, 1988), at most as loud as the sound.
        time_mask: longest silenced span, as a share of the length; there are two (SpecAugment: Park et al., 2019).
        freq_mask: widest silenced band, as a share of the mel scale; there are two.
        sample_rate: in Hz.
    """

    kind = "audio"

    def __init__(
        self,
        shift: Share = 0.0,
        gain: NonNegativeFloat = 0.0,
        snr: float | None = None,
        speed: ShareBelow1 = 0.0,
        pitch: Semitones = 0.0,
        reverb: Seconds = 0.0,
        time_mask: Share = 0.0,
        freq_mask: Share = 0.0,
        sample_rate: int = 16000,
    ) -> None:
        super().__init__()
        self.shift, self.gain, self.snr = shift, gain, snr
        self.speed, self.pitch, self.reverb = speed, pitch, reverb
        self.time_mask, self.freq_mask = time_mask, freq_mask
        self.sample_rate = sample_rate

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each clip augmented.

        Args:
            x: audio; the length changes with the speed.
        """
        signal, length = x["waveform"], x["length"].unsqueeze(1)  # [B, S], [B, 1]
        if self.speed > 0:
            signal, length = change_speed(signal, length, self.speed)
        real = torch.arange(signal.shape[1], device=signal.device) < length
        if self.pitch > 0:
            signal = shift_pitch(signal, self.pitch, self.sample_rate).where(real, 0)
        if self.reverb > 0:
            signal = reverberate(signal, self.reverb, self.sample_rate).where(real, 0)
        if self.shift > 0:
            signal = shift_in_time(signal, length, self.shift)
        if self.gain > 0:
            signal = signal * 10 ** (self.gain * draw_uniform(-1, 1, length.shape, signal.device) / 20)
        if self.snr is not None:
            signal = add_noise(signal, length, self.snr)
        if self.freq_mask > 0:
            signal = mask_frequencies(signal, self.freq_mask, self.sample_rate)
        if self.time_mask > 0:
            signal = mask_time(signal, length, self.time_mask)
        return {**x, "waveform": signal.where(real, 0).clamp(-1, 1), "length": length.squeeze(1)}


def change_speed(waveform: Tensor, length: Tensor, speed: float) -> tuple[Tensor, Tensor]:
    """Play each clip at a random speed.

    Args:
        waveform: [B, S].
        length: [B, 1], real samples.
        speed: largest relative change.

    Returns:
        Waveform and length.
    """
    factor = 1 + speed * draw_uniform(-1, 1, length.shape, waveform.device)
    positions = factor * torch.arange(waveform.shape[1], device=waveform.device)
    changed = ((length / factor).ceil().long()).clamp(max=waveform.shape[1])
    return sample_linearly(waveform, positions), changed


def shift_in_time(waveform: Tensor, length: Tensor, shift: float) -> Tensor:
    """Move each clip by a random time to either side.

    Args:
        waveform: [B, S].
        length: [B, 1], real samples.
        shift: largest shift, as a share of the length.
    """
    samples = torch.arange(waveform.shape[1], device=waveform.device)
    source = samples - (shift * draw_uniform(-1, 1, length.shape, waveform.device) * length).round().long()  # [B, S]
    in_clip = (source >= 0) & (source < length)
    return waveform.gather(1, source.clamp(0, len(samples) - 1)).where(in_clip, 0)


def add_noise(waveform: Tensor, length: Tensor, snr: float) -> Tensor:
    """Add white noise to each clip, relative to its own loudness.

    Args:
        waveform: [B, S].
        length: [B, 1], real samples.
        snr: lowest signal-to-noise ratio, in dB.
    """
    loudness = (waveform.square().sum(1, keepdim=True) / length.clamp(min=1)).sqrt()
    share = torch.rand(length.shape, device=waveform.device)
    return waveform + loudness * 10 ** (-snr / 20) * share * torch.randn_like(waveform)


def reverberate(waveform: Tensor, longest: float, sample_rate: int) -> Tensor:
    """Add to each clip its echo in a room of a random reverberation time; the loudness of a clip stays.

    Args:
        waveform: [B, S].
        longest: reverberation time, in seconds.
        sample_rate: in Hz.
    """
    num_rows, num_samples = waveform.shape
    time = torch.arange(1, max(2, math.ceil(longest * sample_rate)) + 1, device=waveform.device) / sample_rate
    seconds = draw_uniform(0, longest, (num_rows, 1), waveform.device).clamp(min=1e-3)
    tail = torch.randn(num_rows, len(time), device=waveform.device) * (-DECAY * time / seconds).exp()
    loudness = torch.rand(num_rows, 1, device=waveform.device)
    tail = tail * loudness / tail.square().sum(1, keepdim=True).clamp(min=1e-12).sqrt()
    size = num_samples + len(time)
    spectrum = torch.fft.rfft(waveform, size) * torch.fft.rfft(tail, size)
    echoed = waveform + torch.fft.irfft(spectrum, size)[:, :num_samples]
    before, after = (sound.square().sum(1, keepdim=True) for sound in (waveform, echoed))
    loud: Tensor = echoed * (before / after.clamp(min=1e-12)).sqrt()
    return loud


def shift_pitch(waveform: Tensor, semitones: float, sample_rate: int) -> Tensor:
    """Stretch the spectrum of each clip along the frequency (phase vocoder, after Laroche & Dolson, 1999).

    Args:
        waveform: [B, S].
        semitones: largest change to either side.
        sample_rate: in Hz.
    """
    spectrum, window = _to_spectrum(waveform, sample_rate)  # [B, K, frames]
    num_rows, num_bins, _ = spectrum.shape
    factor = 2 ** (semitones * draw_uniform(-1, 1, (num_rows, 1, 1), waveform.device) / 12)
    bins = torch.arange(num_bins, device=waveform.device)
    source = bins / factor.squeeze(1)  # [B, K]: the bin that each bin becomes
    sign = (1 - 2 * (bins % 2)).unsqueeze(1)  # moves the phase reference to the middle of the window
    rotation = _sample_bins(accumulate((factor - 1) * _measure_advance(spectrum)), source)
    stretched = _sample_bins(spectrum * sign, source) * sign
    inside = (source <= num_bins - 1).unsqueeze(2)
    return _to_waveform(stretched * torch.polar(inside.float(), rotation), window, waveform.shape[1])


def _sample_bins(spectrum: Tensor, source: Tensor) -> Tensor:
    """Read a spectrum [B, K, frames] at frequencies between its bins [B, K], the same in all frames."""
    num_rows, num_bins, _ = spectrum.shape
    source = source.clamp(max=num_bins - 1)
    left = source.floor().long()
    first_bin = num_bins * torch.arange(num_rows, device=spectrum.device).unsqueeze(1)
    rows = spectrum.flatten(0, 1)  # copied as a whole, which is faster than a gather
    low, high = (rows[first_bin + bins] for bins in (left, (left + 1).clamp(max=num_bins - 1)))
    return low + (source - left).unsqueeze(2) * (high - low)


def _measure_advance(spectrum: Tensor) -> Tensor:
    """Return how far the phase of each bin turns from a frame to the next, averaged over bins beside it by power."""
    num_bins = spectrum.shape[1]
    expected = (math.pi / 2) * torch.arange(num_bins, device=spectrum.device).unsqueeze(1)  # a hop is a quarter window
    phase = spectrum.angle()
    deviation = phase.diff(dim=2, prepend=phase[..., :1]) - expected
    advance = expected + deviation - 2 * math.pi * (deviation / (2 * math.pi)).round()
    power = spectrum.abs().square() + 1e-12
    weighted, weight = (F.avg_pool2d(part, (NUM_BINS, 1), 1, (NUM_BINS // 2, 0)) for part in (advance * power, power))
    return weighted / weight


def mask_frequencies(waveform: Tensor, widest: float, sample_rate: int) -> Tensor:
    """Silence bands of each clip (SpecAugment: Park et al., 2019), whatever spectrum its encoder computes.

    Args:
        waveform: [B, S].
        widest: band, as a share of the mel scale.
        sample_rate: in Hz.
    """
    spectrum, window = _to_spectrum(waveform, sample_rate)  # [B, K, frames]
    hertz = torch.linspace(0, sample_rate / 2, spectrum.shape[1], device=waveform.device)
    mels = torch.log1p(hertz / 700) / math.log1p(sample_rate / 2 / 700)  # 0..1
    for _ in range(NUM_MASKS):
        width = draw_uniform(0, widest, (len(waveform), 1), waveform.device)
        start = (1 - width) * torch.rand(width.shape, device=waveform.device)
        masked = (mels >= start) & (mels < start + width)
        spectrum = spectrum.masked_fill(masked.unsqueeze(2), 0)
    return _to_waveform(spectrum, window, waveform.shape[1])


def mask_time(waveform: Tensor, length: Tensor, longest: float) -> Tensor:
    """Silence spans of each clip (SpecAugment: Park et al., 2019).

    Args:
        waveform: [B, S].
        length: [B, 1], real samples.
        longest: span, as a share of the length.
    """
    samples = torch.arange(waveform.shape[1], device=waveform.device)
    for _ in range(NUM_MASKS):
        waveform = waveform.masked_fill(draw_spans(length, longest, samples), 0)
    return waveform


def _to_spectrum(waveform: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Return the complex spectrum [B, K, frames] and its window."""
    size = 2 ** max(4, round(math.log2(WINDOW * sample_rate)))
    window = torch.hann_window(size, device=waveform.device)
    spectrum = torch.stft(waveform.float(), size, size // 4, window=window, pad_mode="constant", return_complex=True)
    return spectrum, window


def _to_waveform(spectrum: Tensor, window: Tensor, num_samples: int) -> Tensor:
    """Invert `_to_spectrum`; unlike `torch.istft` without waiting for the device."""
    frames = torch.fft.irfft(spectrum.mT, len(window)) * window  # [B, frames, window]
    overlap = _overlap_add((window * window).expand(1, frames.shape[1], -1))
    waveform = _overlap_add(frames) / overlap.clamp(min=1e-8)
    start = len(window) // 2
    return waveform[:, start : start + num_samples]


def _overlap_add(frames: Tensor) -> Tensor:
    """Sum frames that start a quarter of a window apart, [B, frames, window] -> [B, samples]."""
    num_rows, num_frames, size = frames.shape
    quarters = frames.view(num_rows, num_frames, 4, size // 4)
    summed = frames.new_zeros(num_rows, num_frames + 3, size // 4)
    for position in range(4):
        summed[:, position : position + num_frames] += quarters[:, :, position]
    return summed.flatten(1)
