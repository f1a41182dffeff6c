"""Time series: lists of numbers, arrays, .npy files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.data.moments import Moments
from mmrun.data.table import Column
from mmrun.errors import DataError
from mmrun.values import PositiveInt


class Steps:
    """Decodes series to "values" [C, T] float32, standardised per channel, and a "mask" [T] of the real steps.

    The first steps are kept, and a shorter series is zero-padded. NaN and infinity become the channel's mean (0).

    Args:
        num_steps: T.

    Attributes:
        mean: of each channel over the training rows [C].
        deviation: standard deviation [C]; 0 for a constant channel, which is 0 in every row.
        metadata: in_channels and num_steps, for encoders.
    """

    def __init__(self, num_steps: PositiveInt) -> None:
        self.num_steps = num_steps
        self.mean = np.zeros(0)
        self.deviation = np.ones(0)
        self.metadata: dict[str, object] = {}

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Compute mean and standard deviation of each channel.

        Args:
            column: the series.
            rows: numbers of the training rows [N].
        """
        moments: Moments | None = None
        for series in _read_rows(column, rows):
            values = series[:, : self.num_steps]
            moments = moments or Moments(len(values))
            if len(values) == len(moments.mean):  # others are reported when all rows are decoded
                moments.update(values)
        self.mean, self.deviation = (np.zeros(1), np.ones(1)) if moments is None else (moments.mean, moments.deviation)
        self._update_metadata()

    def decode(self, value: Path | np.ndarray) -> dict[str, np.ndarray]:
        """Decode one row.

        Args:
            value: a .npy file, or numbers [C, T] or [T].

        Returns:
            "values" [C, num_steps] float32 and "mask" [num_steps] bool.

        Raises:
            DataError: the file cannot be read, or has another number of channels than the training rows.
        """
        values = read_series(value)[:, : self.num_steps]
        if len(values) != len(self.mean):
            raise DataError(f"a series with {len(values)} channels, but the training rows have {len(self.mean)}")
        scale = np.divide(1.0, self.deviation, out=np.zeros_like(self.deviation), where=self.deviation > 0)
        standardised = (values - self.mean[:, None]) * scale[:, None]
        padded = np.zeros((len(values), self.num_steps), dtype=np.float32)
        padded[:, : values.shape[1]] = np.nan_to_num(standardised, nan=0.0, posinf=0.0, neginf=0.0)
        return {"values": padded, "mask": np.arange(self.num_steps) < values.shape[1]}

    def state(self) -> dict[str, object]:
        """Return length, mean and standard deviation."""
        return {"num_steps": self.num_steps, "mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state.

        Args:
            state: of another object.
        """
        self.num_steps = state["num_steps"]
        self.mean, self.deviation = np.array(state["mean"]), np.array(state["deviation"])
        self._update_metadata()

    def _update_metadata(self) -> None:
        self.metadata = {"in_channels": len(self.mean), "num_steps": self.num_steps}


def read_series(value: object) -> np.ndarray:
    """Read one series.

    Args:
        value: a .npy file, or numbers [C, T] or [T] as an array or as lists.

    Returns:
        [C, T], of the type that was read.

    Raises:
        DataError: the file cannot be read, or the value is not a non-empty numeric array.
    """
    name = value.name if isinstance(value, Path) else "the series"
    try:
        array = np.load(value, allow_pickle=False) if isinstance(value, Path) else np.asarray(value)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{name} is damaged or not a numeric array ({type(error).__name__})") from None
    if array.ndim not in (1, 2) or array.size == 0 or array.dtype.kind not in "fiub":
        shape = list(array.shape)
        raise DataError(f"{name} is {array.dtype} {shape}, but must be numbers [channels, steps] or [steps]")
    return array[None] if array.ndim == 1 else array


def _read_rows(column: Column, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the readable series; an unreadable one is skipped here, and reported when all rows are decoded."""
    for row in rows:
        value = column.values[row]
        if value is not None:
            try:
                yield read_series(value)
            except DataError:
                continue
