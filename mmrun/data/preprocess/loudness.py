"""Silence at both ends of a sound, and how loud the rest is."""

import math
from typing import Literal

import numpy as np

Loudness = Literal["none", "rms", "lufs"]

FRAMES_PER_SECOND = 50  # in which silence is looked for
LOWEST_LUFS_RATE = 4000  # Hz; the filters of BS.1770 need more than twice their 1,682 Hz
BLOCK, HOP = 0.4, 0.1  # s, of BS.1770
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0  # LUFS, LU
OFFSET = -0.691  # dB: a full-scale sine of 997 Hz has -3.01 LUFS


def trim_silence(samples: np.ndarray, rate: int, trim_db: float) -> np.ndarray:
    """Cut off both ends of a sound that are quiet; a silent one is kept whole.

    Args:
        samples: float [S].
        rate: Hz.
        trim_db: below the loudest 20 ms; ends that are quieter throughout are cut, in frames of 20 ms.

    Returns:
        The samples from the first to the last frame that is loud enough.
    """
    frame = max(1, rate // FRAMES_PER_SECOND)
    padded = np.zeros(-(-len(samples) // frame) * frame)
    padded[: len(samples)] = samples
    energy = (padded**2).reshape(-1, frame).mean(1)
    if energy.max() == 0:
        return samples
    loud = np.flatnonzero(energy >= energy.max() * 10 ** (-trim_db / 10))
    return samples[loud[0] * frame : (loud[-1] + 1) * frame]


def set_loudness(samples: np.ndarray, rate: int, loudness: Loudness, level: float) -> np.ndarray:
    """Amplify or attenuate a sound to a level, but no farther than its highest peak allows.

    Args:
        samples: float [S] in -1..1.
        rate: Hz, more than LOWEST_LUFS_RATE for lufs.
        loudness: rms: the root of the mean square, in dB of full scale; lufs: ITU-R BS.1770.
        level: of the result, in dB or LUFS.

    Returns:
        float32 [S]; a silent sound is not changed.
    """
    measured = measure_rms(samples) if loudness == "rms" else measure_lufs(samples, rate)
    if not math.isfinite(measured):
        return samples.astype(np.float32)
    gain = min(10 ** ((level - measured) / 20), 1 / float(np.abs(samples).max()))
    return (samples * gain).astype(np.float32)


def measure_rms(samples: np.ndarray) -> float:
    """Return the root mean square in dB of full scale; minus infinity for silence.

    Args:
        samples: float [S].
    """
    energy = float((samples.astype(np.float64) ** 2).mean()) if len(samples) else 0.0
    return 10 * math.log10(energy) if energy > 0 else -math.inf


def measure_lufs(samples: np.ndarray, rate: int) -> float:
    """Return the integrated loudness (ITU-R BS.1770-4), with K-weighting that shifts no phase.

    Args:
        samples: float [S], of one channel.
        rate: Hz.

    Returns:
        LUFS; minus infinity where no block of 0.4 s is louder than -70 LUFS.
    """
    block, hop = max(1, round(BLOCK * rate)), max(1, round(HOP * rate))
    spectrum = np.fft.rfft(samples.astype(np.float64), len(samples) + block)  # zeros keep both ends apart
    weighted = np.fft.irfft(spectrum * _weigh_frequencies(len(spectrum), rate), len(samples) + block)[: len(samples)]
    energy = np.concatenate([[0.0], np.cumsum(weighted**2)])
    block = min(block, len(samples))
    starts = np.arange(0, len(samples) - block + 1, hop)
    energies = (energy[starts + block] - energy[starts]) / block
    energies = energies[energies > 10 ** ((ABSOLUTE_GATE - OFFSET) / 10)]
    if len(energies) == 0:
        return -math.inf
    energies = energies[energies > energies.mean() * 10 ** (RELATIVE_GATE / 10)]
    return OFFSET + 10 * math.log10(energies.mean())


def _weigh_frequencies(num_bins: int, rate: int) -> np.ndarray:
    """Return the magnitude of the two K-weighting filters from 0 Hz to half the rate, designed for this rate."""
    z = np.exp(-1j * np.linspace(0, np.pi, num_bins))
    k = math.tan(math.pi * 1681.974450955533 / rate)  # a shelf of 4 dB above 1.7 kHz: the head
    gain, q = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    middle = gain**0.4996667741545416
    shelf = (gain + middle * k / q + k * k) + 2 * (k * k - gain) * z + (gain - middle * k / q + k * k) * z**2
    shelf = shelf / ((1 + k / q + k * k) + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z**2)
    k = math.tan(math.pi * 38.13547087602444 / rate)  # a high pass at 38 Hz
    q = 0.5003270373238773
    first, middle, last = 1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k
    high_pass = (1 - 2 * z + z**2) / (1 + middle / first * z + last / first * z**2)
    magnitude: np.ndarray = np.abs(shelf * high_pass)
    return magnitude
