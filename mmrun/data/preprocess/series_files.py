"""Reads series: lists, arrays, .npy files, text files with a step per line, EDF files and WFDB records."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmrun.data.limits import open_array, read_text
from mmrun.data.preprocess.edf import read_edf, read_edf_rate
from mmrun.data.preprocess.wfdb_records import read_record, read_record_rate
from mmrun.data.sheets.numbers import as_number
from mmrun.data.table import SeriesLayout
from mmrun.errors import DataError

EDF_SUFFIXES = (".edf", ".bdf")
TEXT_SUFFIXES = (".csv", ".tsv", ".txt")


class Axes(NamedTuple):
    """A series before it is known which of its axes is time.

    Attributes:
        numbers: two axes, of the type that was read; a .npy file is mapped, not read.
        layout: time_first or channels_first where the value says it; auto: the rows have to decide.
    """

    numbers: np.ndarray
    layout: SeriesLayout


def read_axes(value: object) -> Axes:
    """Read one series.

    Args:
        value: a file, or numbers as an array or as lists.

    Raises:
        DataError: the file cannot be read, or the value is not a non-empty numeric array.
    """
    numbers = read_numbers(value)
    if numbers.ndim == 1:
        return Axes(numbers[None], "channels_first")
    if not isinstance(value, Path) or value.suffix.lower() == ".npy":
        return Axes(numbers, "auto")
    return Axes(numbers, "time_first")


def read_series(value: object, layout: SeriesLayout = "channels_first") -> np.ndarray:
    """Read one series.

    Args:
        value: a file, or numbers as an array or as lists: [T], or two axes.
        layout: of two axes, unless the file says it.

    Returns:
        [C, T], of the type that was read.

    Raises:
        DataError: as for `read_axes`.
    """
    axes = read_axes(value)
    layout = layout if axes.layout == "auto" else axes.layout
    return axes.numbers.T if layout == "time_first" else axes.numbers


def read_numbers(value: object) -> np.ndarray:
    """Read the numbers of one series, with the axes that they have.

    Args:
        value: a file, or numbers as an array or as lists.

    Returns:
        One or two axes, of the type that was read; time is the first of the two in all files but .npy.

    Raises:
        DataError: as for `read_axes`.
    """
    name = value.name if isinstance(value, Path) else "the series"
    try:
        array = _open_file(value) if isinstance(value, Path) else np.asarray(value)
        if array.dtype == object and isinstance(value, list):
            array = np.asarray(value, dtype=np.float64)  # null becomes NaN, a gap
            if np.isnan(array).all():
                raise DataError("the series is null at every step; leave the cell empty where there is none")
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} is damaged or not a numeric array ({type(error).__name__})") from None
    if array.ndim not in (1, 2) or array.size == 0 or array.dtype.kind not in "fiub":
        shape = list(array.shape)
        raise DataError(f"{name} is {array.dtype} {shape}, but must be numbers [channels, steps] or [steps]")
    return array


def read_rate(value: object) -> float | None:
    """Return the sampling rate that a file states, in Hz; None where it states none.

    Args:
        value: of one row.

    Raises:
        DataError: the file cannot be read.
    """
    suffix = value.suffix.lower() if isinstance(value, Path) else ""
    if suffix == ".hea":
        assert isinstance(value, Path)
        return read_record_rate(value)
    if suffix in EDF_SUFFIXES:
        assert isinstance(value, Path)
        return read_edf_rate(value)
    return None


def _open_file(path: Path) -> np.ndarray:
    """Open a .npy file, or read another one with time as the first axis."""
    suffix = path.suffix.lower()
    if suffix == ".hea":
        return read_record(path)
    if suffix in EDF_SUFFIXES:
        return read_edf(path)
    return _read_steps(path) if suffix in TEXT_SUFFIXES else open_array(path)


def _read_steps(path: Path) -> np.ndarray:
    """Read a text file with one step per line [steps, channels]."""
    lines = [line for line in read_text(path).decode("utf-8-sig", "replace").splitlines() if line.strip()]
    rows = [re.split(r"[,;\t ]+", line.strip()) for line in lines]
    steps = [list(map(as_number, row)) for row in rows]
    if steps and None in steps[0]:
        steps = steps[1:]  # a header
    for line, step in enumerate(steps, start=1 + len(rows) - len(steps)):
        if None in step or len(step) != len(steps[0]):
            raise DataError(f"{path.name}:{line}: is not a step of {len(steps[0])} numbers")
    return np.array(steps, dtype=np.float64)
