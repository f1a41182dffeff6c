"""Time stamps of rows, files and samples, in seconds."""

import math
import re
from datetime import UTC, datetime

import numpy as np

from mmrun.data.sheets.numbers import as_number, is_missing_mark
from mmrun.errors import DataError

# Times since 1970 in ms, us and ns are recognised by their size: in seconds, the first of these is the year 5138
UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))  # least size, units per second
DECIMAL = re.compile(r"\d{1,10}\.\d{1,9}")  # of seconds, in the name of a file
SINCE_1970 = re.compile(r"(?<!\d)(?:\d{10}|\d{13}|\d{16}|\d{19})(?!\d)")  # s, ms, us or ns


def parse_time(cell: object) -> float | None:
    """Return a time in seconds, since 1970 where it is a date.

    Args:
        cell: seconds; ms, us or ns since 1970; or a date with a time, in UTC unless it names a zone.

    Returns:
        None where the cell marks a missing value.

    Raises:
        DataError: the cell is no time.
    """
    if cell is None or is_missing_mark(cell):
        return None
    if isinstance(cell, str) and cell.strip().lstrip("-").isdecimal() and len(cell) <= 20:
        return to_seconds(int(cell))
    number = None if isinstance(cell, bool) else as_number(cell)
    if number is not None and math.isfinite(number):
        return to_seconds(number)
    try:
        date = datetime.fromisoformat(str(cell).strip())
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise DataError(f"'{cell}' is not a time; write seconds, or 2024-01-31 10:00:00.5") from None


def to_seconds(time: float) -> float:
    """Convert a time since 1970 to seconds, where it is so large that it is in ms, us or ns.

    Args:
        time: in any of these units.
    """
    return time / _find_unit(time)


def _find_unit(time: float) -> float:
    """Return how many of its units a second has."""
    return next((units for least, units in UNITS if abs(time) >= least), 1)


def parse_name(stem: str) -> float | None:
    """Return the time stamp in the name of a file, in seconds; None if there is none.

    Args:
        stem: of the name: 1305031452.175304, or lidar_1531883530449377. A number such as 0012 is no time stamp.
    """
    decimals = DECIMAL.findall(stem)
    if decimals:
        return float(decimals[-1])
    numbers = SINCE_1970.findall(stem)
    return to_seconds(int(numbers[-1])) if numbers else None


def check_ascending(times: np.ndarray, name: str) -> np.ndarray:
    """Return the time stamps of a stream in seconds, if each is a number and none precedes the one before it.

    Args:
        times: [T], in the order of the stream, in s, or in ms, us or ns since 1970.
        name: of the stream.

    Returns:
        [T] float64.

    Raises:
        DataError: they are not.
    """
    stamps = np.asarray(times, dtype=np.float64)
    is_bad = ~np.isfinite(stamps)
    is_bad[1:] |= stamps[1:] < stamps[:-1]
    if is_bad.any():
        place = int(is_bad.argmax())
        reason = f"is {stamps[place]:.10g}"
        if np.isfinite(stamps[place]):
            reason += f", but the one before it {stamps[place - 1]:.10g}"
        raise DataError(f"{name}: time stamp {place + 1:,} {reason}; they have to be numbers that ascend")
    return stamps / _find_unit(stamps[-1])
