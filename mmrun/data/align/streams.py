"""Streams: long recordings of which each row is a part: series, sounds, videos, and folders of pictures or scans."""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from mmrun.data.align.options import Alignment
from mmrun.data.align.timestamps import check_ascending, parse_name, parse_time
from mmrun.data.file_resolver import FileResolver
from mmrun.data.frames import FRAME_SUFFIXES
from mmrun.data.items import Excerpt, FrameList
from mmrun.data.limits import MAX_FRAME_FILES, MAX_STREAM_FILES, read_text
from mmrun.data.preprocess.audio import measure_duration
from mmrun.data.preprocess.series_files import TEXT_SUFFIXES, Axes, read_axes, read_rate
from mmrun.data.preprocess.video_files import read_video_header
from mmrun.data.subfiles import stat_file
from mmrun.data.suffixes import SUFFIXES
from mmrun.data.table import SeriesLayout
from mmrun.errors import DataError

TIMES_FILE = "timestamps.txt"  # in a folder of files, or beside it, as in KITTI
FOLDER_SUFFIXES = {"image": FRAME_SUFFIXES, "video": FRAME_SUFFIXES, "points": SUFFIXES["points"] | {".npy"}}
ROUNDING = 1e-6  # s, by which sums of time stamps since 1970 may be wrong
MAX_CUT = 1 << 22  # numbers that are interpolated at a time
MAX_PARSED = 4  # text files whose numbers stay in memory, up to 64 MiB each


class Stream(Protocol):
    """A recording with a clock.

    Attributes:
        start: time of its first sample by this clock, in s.
        stop: time of its last one.
    """

    start: float
    stop: float

    def cut(self, times: np.ndarray) -> Sequence[object]:
        """Return what belongs to each of some rows.

        Args:
            times: of the rows by the stream's clock [n], in s.

        Returns:
            n raw values of the modality; None where the stream has nothing, a DataError where a file cannot be used.
        """


class SeriesStream:
    """A series of samples, evenly spaced or not.

    Args:
        times: of the samples [T], T >= 2, ascending, in s.
        samples: [C, T].
        alignment: window, rate, how and tolerance.
    """

    def __init__(self, times: np.ndarray, samples: np.ndarray, alignment: Alignment) -> None:
        assert alignment.window is not None
        assert alignment.rate is not None
        self.start, self.stop = float(times[0]), float(times[-1])
        self._times, self._samples = times, samples
        self._steps = alignment.window[0] + np.arange(alignment.num_steps) / alignment.rate
        self._is_nearest = alignment.how == "nearest"
        self._tolerance = _choose_tolerance(alignment, times)

    def cut(self, times: np.ndarray) -> list[np.ndarray | None]:
        """Return windows [C, steps] float32, NaN where no sample is near; None where none is. See `Stream.cut`."""
        num_rows = max(1, MAX_CUT // (len(self._samples) * len(self._steps)))
        windows: list[np.ndarray | None] = []
        for first in range(0, len(times), num_rows):
            windows += self._cut_at(times[first : first + num_rows, None] + self._steps)
        return windows

    def _cut_at(self, moments: np.ndarray) -> list[np.ndarray | None]:
        """Return the windows at some moments [n, steps]."""
        after = np.searchsorted(self._times, moments).clip(1, len(self._times) - 1)
        since, until = moments - self._times[after - 1], self._times[after] - moments
        share = np.divide(since, since + until, out=np.zeros_like(moments), where=since + until > 0).clip(0, 1)
        if self._is_nearest:
            share = np.rint(share)
        first, second = self._samples[:, after - 1], self._samples[:, after]  # [C, n, steps]
        mixed = first * (1 - share) + second * share
        windows = np.where(share == 0, first, np.where(share == 1, second, mixed)).astype(np.float32)
        windows[:, np.minimum(abs(since), abs(until)) > self._tolerance + ROUNDING] = np.nan
        by_row = windows.transpose(1, 0, 2)
        return [None if np.isnan(window).all() else window.copy() for window in by_row]


class FileStream:
    """Pictures or scans with time stamps, of which the nearest one belongs to a row.

    Args:
        times: of the files [T], ascending, in s.
        names: of the files, as cells would name them.
        files: resolves them.
        alignment: its tolerance.
    """

    def __init__(self, times: np.ndarray, names: Sequence[str], files: FileResolver, alignment: Alignment) -> None:
        self.start, self.stop = float(times[0]), float(times[-1])
        self._times, self._names, self._files = times, names, files
        self._tolerance = _choose_tolerance(alignment, times)

    def cut(self, times: np.ndarray) -> list[Path | DataError | None]:
        """Return the nearest files; None where it is farther than the tolerance. See `Stream.cut`."""
        after = np.searchsorted(self._times, times).clip(max=len(self._times) - 1)
        before = (after - 1).clip(min=0)
        nearest = np.where(times - self._times[before] <= self._times[after] - times, before, after)
        is_near = abs(self._times[nearest] - times) <= self._tolerance + ROUNDING
        return [self._resolve(place) if near else None for place, near in zip(nearest, is_near, strict=True)]

    def _resolve(self, place: int) -> Path | DataError:
        try:
            return self._files.resolve(self._names[place])
        except DataError as error:
            return error


class FrameStream:
    """Frames with time stamps, of which those in a window belong to a row.

    Args:
        times: of the frames [T], ascending, in s.
        names: of the files, as cells would name them.
        files: resolves them.
        alignment: its window.
    """

    def __init__(self, times: np.ndarray, names: Sequence[str], files: FileResolver, alignment: Alignment) -> None:
        assert alignment.window is not None
        self.start, self.stop = float(times[0]), float(times[-1])
        self._times, self._names, self._files, self._window = times, names, files, alignment.window

    def cut(self, times: np.ndarray) -> list[FrameList | DataError | None]:
        """Return the frames in each window; None where there is none. See `Stream.cut`."""
        firsts, lasts = (np.searchsorted(self._times, times + moment - ROUNDING) for moment in self._window)
        return [self._resolve(self._names[first:last]) for first, last in zip(firsts, lasts, strict=True)]

    def _resolve(self, names: Sequence[str]) -> FrameList | DataError | None:
        if len(names) > MAX_FRAME_FILES:
            return DataError(f"{len(names):,} frames are in the window; at most {MAX_FRAME_FILES:,} are read")
        try:
            return FrameList(map(self._files.resolve, names)) if names else None
        except DataError as error:
            return error


class MediaStream:
    """A file of sound or video, whose clock starts at 0.

    Args:
        path: of the file.
        seconds: its length.
        alignment: its window.
    """

    def __init__(self, path: Path, seconds: float, alignment: Alignment) -> None:
        assert alignment.window is not None
        self.start, self.stop = 0.0, seconds
        self._path, self._window = path, alignment.window

    def cut(self, times: np.ndarray) -> list[Excerpt | None]:
        """Return the part in each window; None where it is outside the file. See `Stream.cut`."""
        starts, stops = (np.round(times + moment, 6).tolist() for moment in self._window)
        excerpts: list[Excerpt | None] = []
        for start, stop in zip(starts, stops, strict=True):
            excerpts.append(Excerpt(self._path, start, stop) if start < self.stop and stop > 0 else None)
        return excerpts


def _choose_tolerance(alignment: Alignment, times: np.ndarray) -> float:
    """Return the tolerance that is set, or the median time between two samples; of a single one, which has none, 0."""
    if alignment.tolerance is not None:
        return alignment.tolerance
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.0


# ------------------------------------------------------------------------------------------------------------ opening


def open_stream(kind: str, cell: object, alignment: Alignment, files: FileResolver, layout: SeriesLayout) -> Stream:
    """Open the stream that a cell names.

    Args:
        kind: of the modality.
        cell: names a file, or a folder of pictures or scans.
        alignment: of the modality, which fits its kind.
        files: resolves names.
        layout: of a series in a .npy file; auto: the longer axis is time.

    Raises:
        DataError: it cannot be read, or its time stamps do not ascend.
    """
    if kind == "series":
        return _open_series(files.parse_series(cell), alignment, layout)
    if kind == "audio":
        path = files.resolve(cell)
        return MediaStream(path, measure_duration(path), alignment)
    if kind == "video" and not files.is_folder(cell):
        return _open_video(files.resolve(cell), alignment)
    return _open_folder(cell, kind, alignment, files)


def _open_series(value: object, alignment: Alignment, layout: SeriesLayout) -> SeriesStream:
    """Open a series; its first column is the time, unless its rate is known."""
    if not isinstance(value, Path):
        raise DataError("holds numbers; with dataset.align it has to name the file of a stream")
    is_text = value.suffix.lower() in TEXT_SUFFIXES
    axes = _parse_text(value, stat_file(value).stamp) if is_text else read_axes(value)
    layout = layout if axes.layout == "auto" else axes.layout
    if layout == "auto":
        layout = "time_first" if axes.numbers.shape[0] > axes.numbers.shape[1] else "channels_first"
    samples = axes.numbers.T if layout == "time_first" else axes.numbers  # [C, T]
    rate = alignment.stream_rate or read_rate(value)
    if rate is not None:
        times = np.arange(samples.shape[1]) / rate
    elif len(samples) == 1:
        raise DataError(f"{value.name} has one column, but the first one is the time; set stream_rate=HZ")
    else:
        times, samples = check_ascending(samples[0], f"{value.name}, whose first column is the time"), samples[1:]
    if len(times) == 1:
        raise DataError(f"{value.name} has a single sample, and is no stream")
    return SeriesStream(times, samples, alignment)


@lru_cache(MAX_PARSED)
def _parse_text(path: Path, stamp: str) -> Axes:
    """Read a text file once, however many runs of a process read it; the stamp changes when it is written."""
    return read_axes(path)


def _open_video(path: Path, alignment: Alignment) -> MediaStream:
    if alignment.stream_rate is not None:
        raise DataError(f"{path.name} has time stamps of its own; leave out stream_rate")
    seconds = read_video_header(path).seconds
    return MediaStream(path, seconds or 0.0, alignment)


def _open_folder(cell: object, kind: str, alignment: Alignment, files: FileResolver) -> FileStream | FrameStream:
    folder = str(cell)
    names = files.list_folder(folder, FOLDER_SUFFIXES[kind], MAX_STREAM_FILES)
    if not names:
        raise DataError(f"'{folder}' is a folder without {kind} files; it has to hold those of a stream")
    if alignment.stream_rate is not None:
        times = np.arange(len(names)) / alignment.stream_rate
    else:
        times, names = _read_times(folder, names, files)
    paths = [os.path.join(folder, name) for name in names]
    return (FrameStream if kind == "video" else FileStream)(times, paths, files, alignment)


def _read_times(folder: str, names: list[str], files: FileResolver) -> tuple[np.ndarray, list[str]]:
    """Return the time stamps of files, ascending, and their names in this order."""
    for place in (folder, os.path.dirname(os.path.normpath(folder))):
        if files.is_file(os.path.join(place, TIMES_FILE)):
            path = files.resolve(os.path.join(place, TIMES_FILE))
            lines = read_text(path).decode("utf-8-sig", "replace").split("\n")
            stamps = [parse_time(line) for line in lines if line.strip()]
            if len(stamps) != len(names):
                raise DataError(f"{TIMES_FILE} has {len(stamps):,} lines, but '{folder}' {len(names):,} files")
            return check_ascending(np.array(stamps, dtype=np.float64), TIMES_FILE), names
    stamps = [parse_name(name[: name.rindex(".")]) for name in names]
    for name, stamp in zip(names, stamps, strict=True):
        if stamp is None:
            raise DataError(
                f"'{os.path.join(folder, name)}' has no time stamp in its name; write {TIMES_FILE} beside it, a line "
                "for each file, or set stream_rate=HZ"
            )
    times = np.array(stamps, dtype=np.float64)
    order = np.argsort(times, kind="stable")
    return times[order], [names[place] for place in order]
