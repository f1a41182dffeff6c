"""Lengths of texts, sounds and series: chosen from the training rows, and reported together with what is cut."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import numpy as np

from mmrun.data.map_rows import map_rows
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError

Auto = Literal["auto"]
AUTO: Auto = "auto"
PERCENTILE = 99  # of the training rows that fit into a length that is chosen
T = TypeVar("T")


def check_range(auto_range: Sequence[float]) -> None:
    """Check the range that `auto` chooses from.

    Args:
        auto_range: shortest and longest length.

    Raises:
        ConfigError: the shortest one is longer.
    """
    if auto_range[0] > auto_range[1]:
        raise ConfigError(f"preprocess.auto_range: {list(auto_range)} is empty; give the shortest length first")


def inspect_rows(column: Column, inspect: Callable[[Any], T]) -> list[T | None]:
    """Inspect every row, files in threads: a header or a length, not the whole content.

    Args:
        column: raw values.
        inspect: is given one of them.

    Returns:
        N results, None where a row is missing or cannot be read; the latter is reported when all rows are decoded.
    """
    results = map_rows(column, range(len(column.values)), inspect)
    return [None if isinstance(result, DataError) else result for result in results]


def measure_rows(column: Column, measure: Callable[[Any], float]) -> np.ndarray:
    """Measure every row.

    Args:
        column: raw values.
        measure: returns the length of one of them.

    Returns:
        [N] float64, NaN where a row is missing or cannot be read.
    """
    lengths = inspect_rows(column, measure)
    return np.array([np.nan if length is None else length for length in lengths], dtype=np.float64)


def choose_length(lengths: np.ndarray, rows: np.ndarray, auto_range: Sequence[float]) -> float:
    """Choose the shortest length that holds 99 % of the training rows whole, within a range.

    Args:
        lengths: of all rows [N], NaN where unknown.
        rows: numbers of the training rows [n].
        auto_range: shortest and longest length.
    """
    known = lengths[rows][np.isfinite(lengths[rows])]
    needed = float(np.percentile(known, PERCENTILE, method="higher")) if len(known) else 0.0
    return min(max(needed, auto_range[0]), auto_range[1])


def describe_cut(lengths: np.ndarray, length: float, unit: str, key: str) -> str:
    """Describe how many rows are longer than a length.

    Args:
        lengths: of all rows [N], NaN where unknown.
        length: what is kept of a row.
        unit: of lengths: tokens, s, steps.
        key: that sets the length.

    Returns:
        For example "the first 64 tokens are read: 3.1% of 500 rows are cut (the longest has 210 tokens); ...".
    """
    known = lengths[np.isfinite(lengths)]
    if len(known) == 0:
        return f"the first {length:g} {unit} are read"
    share = float((known > length).mean())
    longest = f"the longest has {known.max():.4g} {unit}"
    if share == 0:
        return f"{length:g} {unit} are read: none of {len(known):,} rows is cut ({longest})"
    return (
        f"the first {length:g} {unit} are read: {format_share(share)} of {len(known):,} rows are cut ({longest}); "
        f"preprocess.{key} sets another length"
    )


def format_share(share: float) -> str:
    """Format a share so that a few are not rounded to none, nor almost all to all.

    Args:
        share: 0 to 1.
    """
    return f"{share:.0%}" if share in (0, 1) else f"{min(max(share, 0.001), 0.999):.1%}"
