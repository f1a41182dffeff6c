"""Audio: WAV, FLAC, MP3, OGG and everything else that libsndfile reads, or arrays."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from mmrun.data.items import Excerpt
from mmrun.data.limits import check_audio
from mmrun.data.preprocess.lengths import AUTO, Auto, check_range, choose_length, describe_cut, measure_rows
from mmrun.data.preprocess.loudness import LOWEST_LUFS_RATE, Loudness, set_loudness, trim_silence
from mmrun.data.preprocess.resample import resample
from mmrun.data.subfiles import path_or_content
from mmrun.data.table import Column
from mmrun.data.unreadable import describe_content
from mmrun.errors import ConfigError, DataError
from mmrun.values import Range

if TYPE_CHECKING:
    from soundfile import SoundFile

SampleRate = Annotated[int, Range(at_least=1, at_most=768_000)]  # Hz
MIN_COMPLETE = 0.99  # share of a file below which it is cut off; encoders and headers may differ by a few samples
MIN_STREAMED = 0x7FFFF000  # bytes that a header claims where its writer could not know them
Seconds = Annotated[float, Range(above=0, at_most=3600)]
Decibels = Annotated[float, Range(above=0, at_most=120)]
Level = Annotated[float, Range(at_least=-70, at_most=0)]
Mono = Literal["mean", "left", "right"]
Sound = (
    Path | Excerpt | tuple[np.ndarray, int]
)  # a file, a part of one, or samples [S] or [S, channels] with their rate in Hz


class Waveform:
    """Decodes audio to one channel of int16, "waveform" [S], and its "length" in samples.

    The beginning is kept, and shorter audio is zero-padded.

    Args:
        sample_rate: Hz; other rates are resampled.
        seconds: duration that is kept; "auto": 99 % of the training rows are kept whole, in tenths of a second.
        auto_range: shortest and longest duration that "auto" chooses, in seconds.
        mono: which channel is read, where there are several: mean: the mean of all; left: the first; right: the second.
        trim_db: both ends that are this much quieter than the loudest 20 ms are cut off, before anything else is cut;
            None: nothing is.
        loudness: what is read is brought to `level`, as far as no peak is clipped: rms: dB of full scale; lufs: ITU-R
            BS.1770; none.
        level: of `loudness`, in dB or LUFS.

    Attributes:
        seconds: the number, once fitted.
        num_samples: S.
        metadata: sample_rate and num_samples, for encoders.
        notes: what is cut and changed.

    Raises:
        ConfigError: the range is none, or the sample rate too low for lufs.
    """

    def __init__(
        self,
        sample_rate: SampleRate,
        seconds: Seconds | Auto = AUTO,
        auto_range: tuple[Seconds, Seconds] = (0.1, 10.0),
        mono: Mono = "mean",
        trim_db: Decibels | None = None,
        loudness: Loudness = "none",
        level: Level = -23.0,
    ) -> None:
        check_range(auto_range)
        if loudness == "lufs" and sample_rate < LOWEST_LUFS_RATE:
            raise ConfigError(
                f"preprocess.loudness: lufs needs a sample_rate of at least {LOWEST_LUFS_RATE:,} Hz; set it to rms"
            )
        self.mono: Mono = mono
        self.trim_db = trim_db
        self.loudness: Loudness = loudness
        self.level = level
        self.sample_rate = sample_rate
        self.auto_range = None if seconds != AUTO else auto_range
        self.metadata: dict[str, object] = {}
        self.notes: list[str] = []
        if seconds != "auto":
            self._set_seconds(float(seconds))

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Choose the duration, if it is not given: from the headers of files, or of what is left of trimmed ones.

        Args:
            column: the recordings.
            rows: numbers of the training rows [N].
        """
        durations = measure_rows(column, measure_duration if self.trim_db is None else self._measure_trimmed)
        if self.auto_range is not None:
            chosen = choose_length(durations, rows, self.auto_range)
            self._set_seconds(math.ceil(round(chosen * 10, 6)) / 10)
        self.notes = [describe_cut(durations, self.seconds, "s", "seconds"), *self._describe_transforms()]

    def decode(self, value: Sound) -> dict[str, np.ndarray]:
        """Decode one row.

        Args:
            value: a file, a part of one, or samples, int16 or float in -1..1.

        Returns:
            "waveform" [S] int16 and "length" [] int64.

        Raises:
            DataError: the file cannot be read or is empty.
        """
        samples, rate = self._read(value)
        if rate != self.sample_rate:
            samples = resample(_to_float(samples), rate, self.sample_rate)
        samples = samples[: self.num_samples]
        if self.loudness != "none":
            samples = set_loudness(_to_float(samples), self.sample_rate, self.loudness, self.level)
        if samples.dtype != np.int16:
            samples = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
        waveform = np.zeros(self.num_samples, dtype=np.int16)
        waveform[: len(samples)] = samples
        return {"waveform": waveform, "length": np.array(len(samples), dtype=np.int64)}

    def _read(self, value: Sound) -> tuple[np.ndarray, int]:
        """Return one channel and its rate; without the silence at its ends, if that is trimmed."""
        samples, rate = read_audio(value, self.seconds if self.trim_db is None else None)
        if samples.ndim == 2:
            samples = _choose_channel(samples, self.mono)
        if self.trim_db is not None:
            samples = trim_silence(_to_float(samples), rate, self.trim_db)
        return samples, rate

    def _measure_trimmed(self, value: Sound) -> float:
        samples, rate = self._read(value)
        return len(samples) / rate

    def _describe_transforms(self) -> list[str]:
        """Return a line about each transform that is on."""
        lines = []
        if self.mono != "mean":
            lines.append(f"of several channels, the {self.mono} one is read")
        if self.trim_db is not None:
            lines.append(f"both ends are trimmed where they are {self.trim_db:g} dB quieter than the loudest 20 ms")
        if self.loudness != "none":
            unit = "LUFS" if self.loudness == "lufs" else "dB (RMS)"
            lines.append(f"each sound is brought to {self.level:g} {unit}, as far as no peak is clipped")
        return lines

    def state(self) -> dict[str, object]:
        """Return sample rate and duration; of the other options, those that are on."""
        state: dict[str, object] = {"sample_rate": self.sample_rate, "seconds": self.seconds}
        if self.mono != "mean":
            state["mono"] = self.mono
        if self.trim_db is not None:
            state["trim_db"] = self.trim_db
        return state if self.loudness == "none" else {**state, "loudness": self.loudness, "level": self.level}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of another object."""
        self.sample_rate = state["sample_rate"]
        self.mono, self.trim_db = state.get("mono", "mean"), state.get("trim_db")
        self.loudness, self.level = state.get("loudness", "none"), state.get("level", self.level)
        self._set_seconds(state["seconds"])

    def _set_seconds(self, seconds: float) -> None:
        self.seconds = seconds
        self.num_samples = round(self.sample_rate * seconds)
        self.metadata = {"sample_rate": self.sample_rate, "num_samples": self.num_samples}


def measure_duration(value: Sound) -> float:
    """Return the duration of a recording in seconds, from the header of a file.

    Args:
        value: a recording.

    Raises:
        DataError: the file cannot be read.
    """
    if isinstance(value, Excerpt):
        return value.stop - value.start
    if not isinstance(value, Path):
        return len(value[0]) / value[1]
    import soundfile

    try:
        with soundfile.SoundFile(path_or_content(value)) as file:
            check_audio(file, value.name)
            return float(file.frames / file.samplerate)
    except (soundfile.LibsndfileError, OSError) as error:
        raise _describe_failure(value, error) from None


def read_audio(value: Sound, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Read a recording.

    Args:
        value: a recording; samples are returned as they are.
        seconds: duration to read from the beginning of a file; None: all.

    Returns:
        float32 samples in -1..1, [S] or [S, channels], and their rate in Hz.

    Raises:
        DataError: the file cannot be read or is empty.
    """
    if isinstance(value, Excerpt):
        return _read_excerpt(value)
    return _read_file(value, 0, seconds) if isinstance(value, Path) else value


def _read_excerpt(excerpt: Excerpt) -> tuple[np.ndarray, int]:
    """Read a part of a file, with silence where it reaches beyond it."""
    first = max(excerpt.start, 0.0)
    samples, rate = _read_file(excerpt.path, first, excerpt.stop - first)
    padded = np.zeros((round((excerpt.stop - excerpt.start) * rate), *samples.shape[1:]), dtype=np.float32)
    num_before = round((first - excerpt.start) * rate)
    padded[num_before : num_before + len(samples)] = samples[: len(padded) - num_before]
    return padded, rate


def _read_file(path: Path, start: float, seconds: float | None) -> tuple[np.ndarray, int]:
    """Read a file from a time on."""
    import soundfile

    try:
        with soundfile.SoundFile(path_or_content(path)) as file:
            check_audio(file, path.name)
            first = min(round(start * file.samplerate), file.frames)
            frames = -1 if seconds is None else math.ceil(seconds * file.samplerate)
            _check_length(file, path.name)
            if first:
                file.seek(first)
            samples, rate = file.read(frames, dtype="float32"), file.samplerate
            num_expected = file.frames - first if seconds is None else min(frames, file.frames - first)
    except (soundfile.LibsndfileError, OSError) as error:
        raise _describe_failure(path, error) from None
    if len(samples) == 0:
        raise DataError(f"{path.name} contains no audio (0 samples)")
    if len(samples) < MIN_COMPLETE * num_expected:
        raise DataError(f"{path.name} is cut off: it holds {len(samples):,} of {num_expected:,} samples; replace it")
    if not np.isfinite(samples).all():
        raise DataError(f"{path.name} holds samples that are NaN or infinite; replace it")
    return samples, rate


def _check_length(file: "SoundFile", name: str) -> None:
    """Raise an error if a WAV file holds less than its header claims; one that was streamed claims the maximum."""
    sizes = re.search(r"^data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    if sizes is None:
        return
    claimed, actual = int(sizes[1]), int(sizes[2])
    if claimed < MIN_STREAMED and actual < MIN_COMPLETE * claimed:
        raise DataError(f"{name} is cut off: it holds {actual:,} of {claimed:,} bytes of sound; replace it")


def _describe_failure(path: Path, error: Exception) -> DataError:
    unreadable = describe_content(path)
    if unreadable:
        return DataError(f"{path.name} is {unreadable}")
    return DataError(f"{path.name} is damaged or not an audio file ({type(error).__name__})")


def _choose_channel(samples: np.ndarray, mono: Mono) -> np.ndarray:
    """Return one channel [S] of several [S, channels]."""
    if mono == "mean":
        mean: np.ndarray = _to_float(samples).mean(axis=1)
        return mean
    return samples[:, 0 if mono == "left" else min(1, samples.shape[1] - 1)]


def _to_float(samples: np.ndarray) -> np.ndarray:
    """Return samples as float32 in -1..1."""
    as_float: np.ndarray = samples.astype(np.float32)
    return as_float / 32768 if samples.dtype == np.int16 else as_float
