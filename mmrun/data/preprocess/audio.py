"""Audio: WAV, FLAC, MP3, OGG and everything else that libsndfile reads, or arrays."""

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from mmrun.data.limits import check_audio
from mmrun.data.preprocess.lengths import AUTO, Auto, check_range, choose_length, describe_cut, measure_rows
from mmrun.data.preprocess.resample import resample
from mmrun.data.table import Column
from mmrun.errors import DataError
from mmrun.values import Range

SampleRate = Annotated[int, Range(at_least=1, at_most=768_000)]  # Hz
Seconds = Annotated[float, Range(above=0, at_most=3600)]


class Waveform:
    """Decodes audio to one channel of int16, "waveform" [S], and its "length" in samples.

    The beginning is kept, and shorter audio is zero-padded.

    Args:
        sample_rate: Hz; other rates are resampled.
        seconds: duration that is kept; "auto": 99 % of the training rows are kept whole, in tenths of a second.
        auto_range: shortest and longest duration that "auto" chooses, in seconds.

    Attributes:
        seconds: the number, once fitted.
        num_samples: S.
        metadata: sample_rate and num_samples, for encoders.
        notes: what is cut.

    Raises:
        ConfigError: the range is none.
    """

    def __init__(
        self,
        sample_rate: SampleRate,
        seconds: Seconds | Auto = AUTO,
        auto_range: tuple[Seconds, Seconds] = (1.0, 10.0),
    ) -> None:
        check_range(auto_range)
        self.sample_rate = sample_rate
        self.auto_range = None if seconds != AUTO else auto_range
        self.metadata: dict[str, object] = {}
        self.notes: list[str] = []
        if seconds != "auto":
            self._set_seconds(float(seconds))

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Choose the duration from the headers of the files, if it is not given.

        Args:
            column: the recordings.
            rows: numbers of the training rows [N].
        """
        durations = measure_rows(column, measure_duration)
        if self.auto_range is not None:
            chosen = choose_length(durations, rows, self.auto_range)
            self._set_seconds(math.ceil(round(chosen * 10, 6)) / 10)
        self.notes = [describe_cut(durations, self.seconds, "s", "seconds")]

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
            scaled = samples.astype(np.float32) / (32768 if samples.dtype == np.int16 else 1)
            samples = resample(scaled, rate, self.sample_rate)
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
        """Restore a state.

        Args:
            state: of another object.
        """
        self.sample_rate = state["sample_rate"]
        self._set_seconds(state["seconds"])

    def _set_seconds(self, seconds: float) -> None:
        self.seconds = seconds
        self.num_samples = round(self.sample_rate * seconds)
        self.metadata = {"sample_rate": self.sample_rate, "num_samples": self.num_samples}


def measure_duration(value: Path | tuple[np.ndarray, int]) -> float:
    """Return the duration of a recording in seconds, from the header of a file.

    Args:
        value: a file, or samples [S] or [S, channels] with their rate in Hz.

    Raises:
        DataError: the file cannot be read.
    """
    if not isinstance(value, Path):
        return len(value[0]) / value[1]
    import soundfile

    try:
        with soundfile.SoundFile(value) as file:
            check_audio(file, value.name)
            return float(file.frames / file.samplerate)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{value.name} is damaged or not an audio file ({type(error).__name__})") from None


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
            check_audio(file, path.name)
            frames = -1 if seconds is None else math.ceil(seconds * file.samplerate)
            samples, rate = file.read(frames, dtype="float32"), file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path.name} is damaged or not an audio file ({type(error).__name__})") from None
    if len(samples) == 0:
        raise DataError(f"{path.name} contains no audio (0 samples)")
    return samples, rate
