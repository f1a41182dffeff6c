"""Time series: lists of numbers, arrays, .npy files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.data.table import Column
from mmrun.errors import DataError


class Steps:
    """Decode to float32 [C, T], standardised by channel, and a mask [T]: the first `num_steps`, zero-padded.

    A value is [C, T], or [T] for one channel; a value that is not a number becomes its channel's mean.
    """

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self.mean = np.zeros(0)  # [C]
        self.deviation = np.ones(0)  # [C]
        self.metadata: dict[str, Any] = {}

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Learn each channel's mean and deviation."""
        count, total, squares = 0.0, 0.0, 0.0
        for values in _readable(column, rows):
            values = values[:, : self.num_steps].astype(np.float64)
            if np.shape(total) and len(values) != len(total):
                continue  # reported when all rows are decoded
            count = count + np.isfinite(values).sum(axis=1)
            values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
            total, squares = total + values.sum(axis=1), squares + (values**2).sum(axis=1)
        known = np.maximum(np.atleast_1d(count), 1)
        self.mean = np.atleast_1d(total) / known
        deviation = np.sqrt(np.maximum(np.atleast_1d(squares) / known - self.mean**2, 0))
        self.deviation = np.where(deviation > 1e-6 * np.abs(self.mean), deviation, 1.0)
        self._state_metadata()

    def decode(self, value: Path | np.ndarray) -> dict[str, np.ndarray]:
        """Return one series."""
        values = read_series(value)[:, : self.num_steps]
        if len(values) != len(self.mean):
            raise DataError(f"a series of {len(values)} channels, where the training rows have {len(self.mean)}")
        standard = (values - self.mean[:, None]) / self.deviation[:, None]
        padded = np.zeros((len(values), self.num_steps), dtype=np.float32)
        padded[:, : values.shape[1]] = np.nan_to_num(standard, nan=0.0, posinf=0.0, neginf=0.0)
        return {"values": padded, "mask": np.arange(self.num_steps) < values.shape[1]}

    def state(self) -> dict[str, Any]:
        """Return the length and the statistics of the training rows."""
        return {"num_steps": self.num_steps, "mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` was taken from."""
        self.num_steps = state["num_steps"]
        self.mean, self.deviation = np.array(state["mean"]), np.array(state["deviation"])
        self._state_metadata()

    def _state_metadata(self) -> None:
        self.metadata = {"in_channels": len(self.mean), "num_steps": self.num_steps}


def read_series(value: Path | np.ndarray) -> np.ndarray:  # [C, T]
    """Return the numbers of one series."""
    name = value.name if isinstance(value, Path) else "the series"
    try:
        array = np.load(value, allow_pickle=False) if isinstance(value, Path) else np.asarray(value)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{name} is damaged, or no array of numbers ({type(error).__name__})") from None
    if array.ndim not in (1, 2) or array.size == 0 or array.dtype.kind not in "fiub":
        shape = list(array.shape)
        raise DataError(f"{name} is {array.dtype} {shape}, but a series is numbers [channels, steps] or [steps]")
    return array[None] if array.ndim == 1 else array


def _readable(column: Column, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Return the training series; one that cannot be read is reported when all rows are decoded."""
    for row in rows:
        value = column.values[row]
        if value is not None:
            try:
                yield read_series(value)
            except DataError:
                continue
