"""Time series: lists of numbers, arrays, .npy files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from mmrun.data.moments import Moments
from mmrun.data.preprocess.lengths import AUTO, Auto, check_range, choose_length, describe_cut, inspect_rows
from mmrun.data.preprocess.series_files import read_axes, read_rate, read_series
from mmrun.data.table import Column, SeriesLayout
from mmrun.errors import ConfigError, DataError
from mmrun.values import PositiveInt, Width

Scale = Literal["channel", "row", "none"]
OTHER_LAYOUT = {"channels_first": "time_first", "time_first": "channels_first"}
OLD_LAYOUTS: dict[str, SeriesLayout] = {"channels_last": "time_first"}  # in states of version 0.3.0 and earlier
POINT_COLUMNS = range(3, 9)  # channels that may be the coordinates and features of points
MIN_SHARED = 0.9  # share of the rows that are equally long along an axis, from which it is that of the channels


class Steps:
    """Decodes series to "values" [C, T] float32, standardised, and a "mask" [T] of the real steps.

    The first steps are kept, and a shorter series is zero-padded. NaN and infinity become the channel's mean (0).

    Args:
        num_steps: T; "auto": 99 % of the training rows are kept whole.
        auto_range: smallest and largest T that "auto" chooses.
        scale: channel: by the mean and deviation of each channel over the training rows; row: by those of each channel
            of the row itself, which removes its level and amplitude; none.
        resample: steps that every series is stretched or shrunk to, by linear interpolation; None: none is.

    Attributes:
        num_steps: the number, once fitted.
        layout: of series with two axes: the one that the column says, or, where it says auto, the axis along which the
            training rows are equally long is that of the channels.
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
        self.layout: SeriesLayout = "channels_first"
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
        choice = choose_layout(column, rows)
        self.layout = choice.layout
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
        self.notes = [*self._describe(shapes, num_channels), *choice.notes, *_describe_rates(column)]
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
                f"dataset.layout.NAME={OTHER_LAYOUT[self.layout]}"
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
                f"dataset.layout.NAME={OTHER_LAYOUT[self.layout]}"
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
        return series if self.resample is None else _resample_steps(series, self.resample)

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
        """Restore a state of another object."""
        self.num_steps, self.layout = state["num_steps"], OLD_LAYOUTS.get(state["layout"], state["layout"])
        self.mean, self.deviation = np.array(state["mean"]), np.array(state["deviation"])
        self.scale, self.resample = state.get("scale", "channel"), state.get("resample")
        self._update_metadata()

    def _update_metadata(self) -> None:
        self.metadata = {"in_channels": len(self.mean), "num_steps": self.num_steps}


def _resample_steps(series: np.ndarray, num_steps: int) -> np.ndarray:
    """Stretch or shrink a series [C, T] by linear interpolation; its first and last step stay."""
    places = np.linspace(0, series.shape[1] - 1, num_steps)
    steps = np.arange(series.shape[1])
    return np.stack([np.interp(places, steps, channel) for channel in series])


class LayoutChoice(NamedTuple):
    """Which axis of series is time.

    Attributes:
        layout: time_first or channels_first.
        notes: why, and how to change it; empty if there was nothing to choose.
    """

    layout: SeriesLayout
    notes: list[str]


def choose_layout(column: Column, rows: np.ndarray) -> LayoutChoice:
    """Choose which axis of series is time, unless the column says it.

    The axis along which the training rows are equally long is that of the channels; where both are, it is the shorter.

    Args:
        column: the series.
        rows: numbers of the training rows [N].

    Raises:
        DataError: the training rows differ along both axes.
    """
    if column.layout != "auto":
        return LayoutChoice(column.layout, [])
    axes = inspect_rows(replace(column, values=[column.values[row] for row in rows]), _read_open_shape)
    known = [place for place, shape in enumerate(axes) if shape]
    if not known:
        return LayoutChoice("channels_first", [])
    shapes = np.array([axes[place] for place in known])  # [n, 2]
    usual = [_find_most_common(sizes) for sizes in shapes.T]
    is_first_shared, is_second_shared = ((shapes == usual).mean(axis=0) >= MIN_SHARED).tolist()
    if not is_first_shared and not is_second_shared:
        first, other = known[0], known[int(np.argmax((shapes != shapes[0]).any(axis=1)))]
        raise DataError(
            f"{column.locate(int(rows[first]))} is {axes[first]} and {column.locate(int(rows[other]))} "
            f"{axes[other]}: no axis has the same length in all rows, so none is that of the channels; set "
            "dataset.layout.NAME=time_first or channels_first, or give all rows the same channels"
        )
    if is_first_shared and is_second_shared:
        layout: SeriesLayout = "time_first" if usual[1] < usual[0] else "channels_first"
        reason = "the longer axis" if usual[0] != usual[1] else "both are equally long, so this is a guess"
    else:
        layout = "time_first" if is_second_shared else "channels_first"
        reason = f"all have {usual[1 if is_second_shared else 0]} along the other axis, the channels"
    time = "first" if layout == "time_first" else "second"
    note = f"time is the {time} axis ({reason}); dataset.layout.NAME={OTHER_LAYOUT[layout]} reads the other one"
    if layout == "time_first" and usual[1] in POINT_COLUMNS:
        note += "; dataset.kinds.NAME=points reads points"
    return LayoutChoice(layout, [note])


def _read_open_shape(value: object) -> list[int] | None:
    """Return the axes of a series if it does not say which of them is time."""
    axes = read_axes(value)
    return list(axes.numbers.shape) if axes.layout == "auto" else None


def _describe_rates(column: Column) -> list[str]:
    """Describe the sampling rates that files state; steps are read as they are."""
    rates = {rate for rate in inspect_rows(column, read_rate) if rate is not None}
    if not rates:
        return []
    if len(rates) == 1:
        return [f"sampled at {rates.pop():g} Hz"]
    limits = f"{min(rates):g} to {max(rates):g} Hz"
    return [f"sampled at {len(rates)} rates, {limits}, but read step by step; resample them to one"]


def _find_most_common(channels: np.ndarray) -> int:
    """Return the most common of some numbers, 1 if there is none."""
    numbers, counts = np.unique(channels[np.isfinite(channels)], return_counts=True)
    return int(numbers[counts.argmax()]) if len(numbers) else 1
