"""Audio: WAV, FLAC, MP3, OGG and everything else that libsndfile reads, or arrays."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.data.table import Column
from mmrun.errors import DataError
from mmrun.values import PositiveFloat, PositiveInt


class Waveform:
    """Decodes audio to one channel of int16, "waveform" [S], and its "length" in samples.

    The beginning is kept, and shorter audio is zero-padded.

    Args:
        sample_rate: Hz; other rates are resampled.
        seconds: duration that is kept.

    Attributes:
        num_samples: S.
        metadata: sample_rate and num_samples, for encoders.
    """

    def __init__(self, sample_rate: PositiveInt, seconds: PositiveFloat) -> None:
        self.sample_rate = sample_rate
        self.seconds = seconds
        self.num_samples = round(sample_rate * seconds)
        self.metadata: dict[str, object] = {"sample_rate": sample_rate, "num_samples": self.num_samples}

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Do nothing: how audio is decoded does not depend on other rows."""

    def decode(self, value: Path | tuple[np.ndarray, int]) -> dict[str, np.ndarray]:
        """Decode one row.

        Args:
            value: a file, or samples with their rate in Hz; samples are [S] or [S, channels], int16 or float in -1..1.

        Returns:
            "waveform" [S] int16 and "length" [] int64.

        Raises:
            DataError: the file cannot be read or is empty.
        """
        samples, rate = read_audio(value, self.seconds) if isinstance(value, Path) else value
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

    def state(self) -> dict[str, object]:
        """Return sample rate and duration."""
        return {"sample_rate": self.sample_rate, "seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state.

        Args:
            state: of another object.
        """
        Waveform.__init__(self, state["sample_rate"], state["seconds"])


def read_audio(path: Path, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Read an audio file.

    Args:
        path: of the file.
        seconds: duration to read from its beginning; None: all.

    Returns:
        float32 samples in -1..1, [S] or [S, channels], and their rate in Hz.

    Raises:
        DataError: the file cannot be read or is empty.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            frames = -1 if seconds is None else math.ceil(seconds * file.samplerate)
            samples, rate = file.read(frames, dtype="float32"), file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path.name} is damaged or not an audio file ({type(error).__name__})") from None
    if len(samples) == 0:
        raise DataError(f"{path.name} contains no audio (0 samples)")
    return samples, rate


def _resample(samples: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    from scipy.signal import resample_poly

    divisor = math.gcd(rate, target_rate)
    scaled = samples.astype(np.float32) / (32768 if samples.dtype == np.int16 else 1)
    resampled: np.ndarray = resample_poly(scaled, target_rate // divisor, rate // divisor).astype(np.float32)
    return resampled
