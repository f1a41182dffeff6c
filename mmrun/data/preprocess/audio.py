"""Sound: WAV, FLAC, MP3, OGG and what else libsndfile reads, or arrays."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.data.table import Column
from mmrun.errors import DataError


class Waveform:
    """Decode to one channel of int16 at `sample_rate`; the first `seconds` are kept, a shorter sound is zero-padded."""

    def __init__(self, sample_rate: int, seconds: float) -> None:
        self.sample_rate = sample_rate  # Hz
        self.seconds = seconds
        self.num_samples = round(sample_rate * seconds)
        self.metadata: dict[str, Any] = {"sample_rate": sample_rate, "num_samples": self.num_samples}

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Learn nothing: a sound is decoded alike, whatever the others are."""

    def decode(self, value: Path | tuple[np.ndarray, int]) -> dict[str, np.ndarray]:
        """Return one sound; in memory it is (samples [S] or [S, channels], int16 or float in -1..1; their rate)."""
        samples, rate = read_sound(value, self.seconds) if isinstance(value, Path) else value
        if samples.ndim == 2:
            samples = samples.astype(np.float32).mean(axis=1) / (32768 if samples.dtype == np.int16 else 1)
        if rate != self.sample_rate:
            samples = _resample(samples, rate, self.sample_rate)
        samples = samples[: self.num_samples]
        if samples.dtype != np.int16:
            samples = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
        waveform = np.zeros(self.num_samples, dtype=np.int16)
        waveform[: len(samples)] = samples
        return {"waveform": waveform, "length": np.array(len(samples), dtype=np.int64)}

    def state(self) -> dict[str, Any]:
        """Return rate and length."""
        return {"sample_rate": self.sample_rate, "seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` was taken from."""
        Waveform.__init__(self, state["sample_rate"], state["seconds"])


def read_sound(path: Path, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Read a file, or its beginning: float32 [S] or [S, channels], and the rate."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            frames = -1 if seconds is None else math.ceil(seconds * file.samplerate)
            samples, rate = file.read(frames, dtype="float32"), file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path.name} is damaged, or no sound ({type(error).__name__})") from None
    if len(samples) == 0:
        raise DataError(f"{path.name} holds no sound (0 samples)")
    return samples, rate


def _resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    scaled = samples.astype(np.float32) / (32768 if samples.dtype == np.int16 else 1)
    return resample_poly(scaled, wanted // common, rate // common).astype(np.float32)
