"""Cells as numbers: one by one, or whole columns at the speed of Arrow."""

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from mmrun.data.packed import PackedValues

if TYPE_CHECKING:
    import pyarrow

MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", "."}  # how missing numbers are marked, in lower case
BRACKETS = {"[": "]", "(": ")", "{": "}"}  # around a series
NUM_TRIED = 64  # first cells of a chunk; if one of them is a word, no other is looked at


def as_number(cell: object) -> float | None:
    """Return a cell as a number.

    Args:
        cell: a number, or text.

    Returns:
        The number; NaN if it is infinite or marked as missing; None if the cell is not a number.
    """
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else math.nan
    if cell is None or is_missing_mark(cell):
        return math.nan
    if isinstance(cell, bytes) or (isinstance(cell, str) and "_" in cell):  # Python reads 2024_01 as 202401
        return None
    try:
        number = float(cell)  # type: ignore[arg-type]  # a TypeError is caught
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else math.nan


def is_missing_mark(cell: object) -> bool:
    """Return whether a cell marks a missing number: NA, null, ?, NaN ...

    Args:
        cell: text, or anything else.
    """
    if isinstance(cell, float):
        return math.isnan(cell)
    return isinstance(cell, str) and cell.strip().lower() in MISSING


def is_infinite(cell: object) -> bool:
    """Return whether a cell is an infinite number, which `as_number` returns as a missing one.

    Args:
        cell: a number, text, or anything else.
    """
    if isinstance(cell, float):
        return math.isinf(cell)
    return isinstance(cell, str) and cell.strip().lower().lstrip("+-") in ("inf", "infinity")


def parse_series(text: str) -> list[float] | None:
    """Return the numbers of a text such as "0.1 0.2 0.3", also with commas, semicolons and brackets.

    Args:
        text: of a cell. Where semicolons or spaces are between the numbers, they may have decimal commas.

    Returns:
        None if a part is no number, or one is inside brackets of its own.
    """
    body = text.strip()
    if body[:1] in BRACKETS and body[-1:] == BRACKETS[body[:1]]:
        body = body[1:-1].strip()
    if ";" in body:
        parts = [part.replace(",", ".") for part in body.rstrip(";").split(";")]
    elif re.search(r",\s|^[^\s]*$", body):
        parts = re.split(r"\s*,\s*", body)
    else:
        parts = [part.replace(",", ".") for part in body.split()]
    numbers = []
    for part in parts:
        number = as_number(part)
        if number is None or (math.isnan(number) and not part.strip()):
            return None
        numbers.append(number)
    return numbers


def parse_numbers(cells: Iterable[object]) -> np.ndarray | None:
    """Return a whole column as numbers.

    Args:
        cells: N cells, None where empty.

    Returns:
        [N] float64, NaN where `as_number` returns it; None if a cell is not a number.
    """
    arrays = cells.arrays() if isinstance(cells, PackedValues) else None
    if arrays is None:
        return _parse_cells(cells)
    parts = []
    for array in arrays:
        part = _parse_array(array)
        if part is None:
            return None
        parts.append(part)
    return np.concatenate(parts) if parts else np.zeros(0)


def _parse_cells(cells: Iterable[object]) -> np.ndarray | None:
    numbers = []
    for cell in cells:
        number = as_number(cell)
        if number is None:
            return None
        numbers.append(number)
    return np.array(numbers, dtype=np.float64)


def _parse_array(array: "pyarrow.Array") -> np.ndarray | None:
    import pyarrow  # "from pyarrow import" would take as long as the work on a short column

    kind, number = array.type, pyarrow.float64()
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        try:
            array = array.cast(number)
        except pyarrow.ArrowInvalid:  # marks of missing cells, spaces, or words
            is_number = _parse_cells(array.slice(0, NUM_TRIED).to_pylist()) is not None
            return _parse_different(array) if is_number else None
    elif kind != number:
        array = array.cast(number, safe=pyarrow.types.is_boolean(kind))
    numbers: np.ndarray = array.to_numpy(zero_copy_only=False)
    infinite = np.isinf(numbers)
    return np.where(infinite, np.nan, numbers) if infinite.any() else numbers


def _parse_different(array: "pyarrow.Array") -> np.ndarray | None:
    """Parse each of the different cells once; most of them may be one mark of missing cells."""
    encoded = array.dictionary_encode()
    numbers = _parse_cells(encoded.dictionary.to_pylist())
    if numbers is None:
        return None
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    parsed: np.ndarray = np.append(numbers, np.nan)[codes]
    return parsed
