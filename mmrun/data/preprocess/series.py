"""Time series: lists of numbers, arrays, .npy files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmrun.data.limits import open_array, read_text
from mmrun.data.moments import Moments
from mmrun.data.preprocess.lengths import AUTO, Auto, check_range, choose_length, describe_cut, inspect_rows
from mmrun.data.sheets.numbers import as_number
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError
from mmrun.values import PositiveInt, Width

Layout = Literal["channels_first", "channels_last"]
Scale = Literal["channel", "row", "none"]
OTHER_LAYOUT = {"channels_first": "channels_last", "channels_last": "channels_first"}


class Steps:
    """Decodes series to "values" [C, T] float32, standardised, and a "mask" [T] of the real steps.

    The first steps are kept, and a shorter series is zero-padded. NaN and infinity become the channel's mean (0).

    Args:
        num_steps: T; "auto": 99 % of the training rows are kept whole.
        auto_range: smallest and largest T that "auto" chooses.
        layout: the axes of a two-dimensional series: channels_first is [channels, steps], channels_last is [steps,
            channels].
        scale: channel: by the mean and deviation of each channel over the training rows; row: by those of each channel
            of the row itself, which removes its level and amplitude; none.
        resample: steps that every series is stretched or shrunk to, by linear interpolation; None: none is.

    Attributes:
        num_steps: the number, once fitted.
        mean: of each channel over the training rows [C].
        deviation: standard deviation [C]; 0 for a constant channel, which is 0 in every row.
        metadata: in_channels and num_steps, for encoders.
        notes: what is cut, which gaps are filled, and whether the axes may be the other ones.

    Raises:
        ConfigError: the range is none, or both `num_steps` and `resample` are set.
    """

    def __init__(
        self,
        num_steps: PositiveInt | Auto = AUTO,
        auto_range: tuple[PositiveInt, PositiveInt] = (128, 1024),
        layout: Layout = "channels_first",
        scale: Scale = "channel",
        resample: Width | None = None,
    ) -> None:
        check_range(auto_range)
        if resample is not None and num_steps != AUTO:
            raise ConfigError("preprocess.resample: cannot be combined with num_steps; set num_steps=auto")
        self.scale: Scale = scale
        self.resample = resample
        self.num_steps = auto_range[0] if num_steps == "auto" else num_steps
        self.auto_range = auto_range if num_steps == "auto" else None
        self.layout: Layout = layout
        self.mean = np.zeros(0)
        self.deviation = np.ones(0)
        self.metadata: dict[str, object] = {}
        self.notes: list[str] = []

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Choose the length; compute mean and standard deviation of each channel.

        Args:
            column: the series.
            rows: numbers of the training rows [N].

        Raises:
            DataError: the axes of the series are those of the other layout.
        """
        shapes = self._read_shapes(column)
        self._check_layout(column, shapes)
        num_channels = _find_most_common(shapes[rows, 0])
        if self.resample is not None:
            self.num_steps = self.resample
        elif self.auto_range is not None:
            self.num_steps = int(choose_length(shapes[:, 1], rows, self.auto_range))
        moments = Moments(num_channels)
        num_rows = num_with_gaps = 0
        for series in self._read_rows(column, rows):
            if len(series) == num_channels:  # others are reported when all rows are decoded
                values = series[:, : self.num_steps]
                moments.update(values)
                num_rows += 1
                num_with_gaps += not np.isfinite(values).all()
        self.mean, self.deviation = moments.mean, moments.deviation
        self.notes = self._describe(shapes, num_channels)
        if num_with_gaps:
            self.notes.append(
                f"{num_with_gaps:,} of {num_rows:,} training rows have gaps (NaN or infinity), which become the mean"
            )
        self._update_metadata()

    def _read_shapes(self, column: Column) -> np.ndarray:
        """Return channels and steps of all rows, [N, 2] float64, NaN where they are missing or cannot be read."""
        shapes = inspect_rows(column, lambda value: read_series(value, self.layout).shape)
        return np.array([(np.nan, np.nan) if shape is None else shape for shape in shapes], dtype=np.float64)

    def _check_layout(self, column: Column, shapes: np.ndarray) -> None:
        """Raise an error if most series differ in their channels, but none in its steps."""
        known = np.flatnonzero(np.isfinite(shapes[:, 0]))
        if len(known) == 0:
            return
        channels, steps = shapes[known].T
        usual = _find_most_common(channels)
        if (channels == usual).mean() <= 0.5 and len(np.unique(steps)) == 1:
            first, other = known[0], known[np.argmax(channels != channels[0])]
            raise DataError(
                f"{column.locate(int(first))} has {channels[0]:g} channels and {column.locate(int(other))} "
                f"{shapes[other, 0]:g}, but both have {steps[0]:g} steps; if time is the other axis, set "
                f"encoder.MODALITY.preprocess.layout={OTHER_LAYOUT[self.layout]}"
            )

    def _describe(self, shapes: np.ndarray, num_channels: int) -> list[str]:
        """Describe what is cut, and whether the axes may be exchanged."""
        channels = f"{num_channels:,} channel{'' if num_channels == 1 else 's'}"
        notes = [f"{channels}; {self._describe_length(shapes[:, 1])}"]
        if self.scale != "channel":
            notes.append("each row is standardised by itself" if self.scale == "row" else "values are not standardised")
        steps = shapes[np.isfinite(shapes[:, 1]), 1]
        if len(steps) and num_channels > np.median(steps):
            notes.append(
                f"{channels} of {np.median(steps):g} steps (median): if time is the other axis, set "
                f"preprocess.layout={OTHER_LAYOUT[self.layout]}"
            )
        return notes

    def _describe_length(self, lengths: np.ndarray) -> str:
        if self.resample is None:
            return describe_cut(lengths, self.num_steps, "steps", "num_steps")
        known = lengths[np.isfinite(lengths)]
        range_ = f", from {known.min():g} to {known.max():g}" if len(known) else ""
        return f"every row is resampled to {self.resample} steps{range_}"

    def _read_rows(self, column: Column, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the readable series; an unreadable one is skipped here, and reported when all rows are decoded."""
        for row in rows:
            value = column.values[row]
            if value is not None:
                try:
                    yield self._read(value)
                except DataError:
                    continue

    def decode(self, value: Path | np.ndarray) -> dict[str, np.ndarray]:
        """Decode one row.

        Args:
            value: a .npy file, or numbers: [T], or two axes as the layout says.

        Returns:
            "values" [C, num_steps] float32 and "mask" [num_steps] bool.

        Raises:
            DataError: the file cannot be read, or has another number of channels than the training rows.
        """
        values = self._read(value)[:, : self.num_steps]
        if len(values) != len(self.mean):
            raise DataError(f"a series with {len(values)} channels, but the training rows have {len(self.mean)}")
        standardised = self._standardise(values)
        padded = np.zeros((len(values), self.num_steps), dtype=np.float32)
        padded[:, : values.shape[1]] = np.nan_to_num(standardised, nan=0.0, posinf=0.0, neginf=0.0)
        return {"values": padded, "mask": np.arange(self.num_steps) < values.shape[1]}

    def _read(self, value: Path | np.ndarray) -> np.ndarray:
        series = read_series(value, self.layout)
        return series if self.resample is None else resample_steps(series, self.resample)

    def _standardise(self, values: np.ndarray) -> np.ndarray:
        """Standardise by the training rows or by the row itself, [C, T]; a constant channel becomes 0."""
        if self.scale == "none":
            return values
        mean, deviation = self.mean, self.deviation
        if self.scale == "row":
            moments = Moments(len(values))
            moments.update(values)
            mean, deviation = moments.mean, moments.deviation
        factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        standardised: np.ndarray = (values - mean[:, None]) * factor[:, None]
        return standardised

    def state(self) -> dict[str, object]:
        """Return length, layout, mean and standard deviation; of the other options, those that are on."""
        optional = {"scale": None if self.scale == "channel" else self.scale, "resample": self.resample}
        return {
            **{name: value for name, value in optional.items() if value is not None},
            "num_steps": self.num_steps,
            "layout": self.layout,
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state.

        Args:
            state: of another object.
        """
        self.num_steps, self.layout = state["num_steps"], state["layout"]
        self.mean, self.deviation = np.array(state["mean"]), np.array(state["deviation"])
        self.scale, self.resample = state.get("scale", "channel"), state.get("resample")
        self._update_metadata()

    def _update_metadata(self) -> None:
        self.metadata = {"in_channels": len(self.mean), "num_steps": self.num_steps}


def resample_steps(series: np.ndarray, num_steps: int) -> np.ndarray:
    """Stretch or shrink a series by linear interpolation; its first and last step stay.

    Args:
        series: [C, T].
        num_steps: of the result, T'.

    Returns:
        [C, T'] float64.
    """
    places = np.linspace(0, series.shape[1] - 1, num_steps)
    steps = np.arange(series.shape[1])
    return np.stack([np.interp(places, steps, channel) for channel in series])


def read_series(value: object, layout: Layout = "channels_first") -> np.ndarray:
    """Read one series.

    Args:
        value: a .npy file, or numbers as an array or as lists: [T], or two axes as the layout says.
        layout: channels_first or channels_last.

    Returns:
        [C, T], of the type that was read.

    Raises:
        DataError: the file cannot be read, or the value is not a non-empty numeric array.
    """
    numbers = read_numbers(value)
    if numbers.ndim == 1:
        return numbers[None]
    if isinstance(value, Path) and value.suffix.lower() != ".npy":
        return numbers.T  # the lines of a text file are steps
    return numbers if layout == "channels_first" else numbers.T


def read_numbers(value: object) -> np.ndarray:
    """Read the numbers of one series, with the axes that they have.

    Args:
        value: a .npy file, or numbers as an array or as lists.

    Returns:
        One or two axes, of the type that was read; a file is mapped, not read.

    Raises:
        DataError: the file cannot be read, or the value is not a non-empty numeric array.
    """
    name = value.name if isinstance(value, Path) else "the series"
    try:
        array = _open_file(value) if isinstance(value, Path) else np.asarray(value)
    except ValueError as error:
        raise DataError(f"{name} is damaged or not a numeric array ({type(error).__name__})") from None
    if array.ndim not in (1, 2) or array.size == 0 or array.dtype.kind not in "fiub":
        shape = list(array.shape)
        raise DataError(f"{name} is {array.dtype} {shape}, but must be numbers [channels, steps] or [steps]")
    return array


def _open_file(path: Path) -> np.ndarray:
    """Open a .npy file, or read a text file with one step per line [steps, channels]."""
    if path.suffix.lower() == ".npy":
        return open_array(path)
    lines = [line for line in read_text(path).decode("utf-8-sig", "replace").splitlines() if line.strip()]
    rows = [re.split(r"[,;\t ]+", line.strip()) for line in lines]
    steps = [[as_number(cell) for cell in row] for row in rows]
    if steps and None in steps[0]:
        steps = steps[1:]  # a header
    for line, step in enumerate(steps, start=1 + len(rows) - len(steps)):
        if None in step or len(step) != len(steps[0]):
            raise DataError(f"{path.name}:{line}: is not a step of {len(steps[0])} numbers")
    return np.array(steps, dtype=np.float64)


def _find_most_common(channels: np.ndarray) -> int:
    """Return the most common of some numbers, 1 if there is none."""
    numbers, counts = np.unique(channels[np.isfinite(channels)], return_counts=True)
    return int(numbers[counts.argmax()]) if len(numbers) else 1
