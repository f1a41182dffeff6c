"""How numbers are distributed, and how often values occur, by split."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmrun.data.names import shorten
from mmrun.data.table import SPLITS

MIN_BINS, MAX_BINS = 5, 30
MAX_VALUES = 20  # of a list of frequencies, the most frequent ones


@dataclass(frozen=True)
class Distribution:
    """Numbers, in their own unit.

    Attributes:
        least: the smallest number.
        median: of all splits together.
        most: the largest number.
        missing: rows without a number.
        edges: of the bins [B + 1].
        counts: rows in each bin [B] by split.
    """

    least: float
    median: float
    most: float
    missing: int
    edges: list[float]
    counts: dict[str, list[int]]


@dataclass(frozen=True)
class Frequencies:
    """Values and how often they occur.

    Attributes:
        num_different: values.
        counts: by value, most frequent first, at most MAX_VALUES of them; then by split.
    """

    num_different: int
    counts: dict[str, dict[str, int]]


def describe_numbers(numbers: np.ndarray, split: np.ndarray) -> Distribution | None:
    """Return the distribution of numbers by split; None if there is none.

    Args:
        numbers: [n], NaN where missing.
        split: of each [n] str.
    """
    is_number = np.isfinite(numbers)
    shown, shown_splits = numbers[is_number], split[is_number]
    if len(shown) == 0:
        return None
    low, high = float(shown.min()), float(shown.max())
    edges = _make_edges(shown, low, high)
    counts = {name: np.histogram(shown[shown_splits == name], edges)[0].tolist() for name in SPLITS}
    return Distribution(low, float(np.median(shown)), high, int((~is_number).sum()), edges.tolist(), counts)


def _make_edges(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the edges of the bins: one for each number where few whole ones occur, else MAX_BINS or fewer."""
    if np.equal(np.mod(numbers, 1), 0).all() and high - low < MAX_BINS:
        return np.arange(low, high + 2) - 0.5
    span = high - low
    if not np.isfinite(span) or low + span / MAX_BINS == low:  # beyond the range or the precision of numbers
        return np.array([low, np.nextafter(high, np.inf)])
    num_bins = min(MAX_BINS, max(MIN_BINS, math.ceil(math.sqrt(len(numbers)))))
    return np.linspace(low, high, num_bins + 1)


def rank_values(by_split: Mapping[str, Counter[str]]) -> Frequencies:
    """Return the most frequent values of all splits together.

    Args:
        by_split: how often each value occurs.
    """
    total: Counter[str] = Counter()
    for counter in by_split.values():
        total.update(counter)
    counts: dict[str, dict[str, int]] = {}
    for value, _ in total.most_common(MAX_VALUES):
        label = shorten(value)  # two long values may begin alike
        counts_of_label = counts.setdefault(label, dict.fromkeys(by_split, 0))
        for name, counter in by_split.items():
            counts_of_label[name] += counter[value]
    return Frequencies(len(total), counts)
