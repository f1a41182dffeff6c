"""The categories of one table column: numbered, and where asked encoded, by what the training rows show."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mmrun.data.names import find_near_equal, normalize_name
from mmrun.data.packed import PackedValues

CategoryEncoding = Literal["embedding", "one_hot", "frequency"]

ENCODED = {"one_hot": "a number each, 0 or 1", "frequency": "their standardised share of the training rows"}
MAX_NAME = 40  # letters of a category in a note


@dataclass(frozen=True)
class CategoryTransform:
    """The fitted categories of one column.

    Attributes:
        numbers: from 1, by category; "" is that of training rows without one. Rare categories share the last number.
        shares: standardised share of the training rows by number, that of an unknown category first; empty unless
            categories are encoded by frequency.
    """

    numbers: dict[str, int]
    shares: list[float] = field(default_factory=list)

    @property
    def cardinality(self) -> int:
        """Categories, the unknown one included; merged ones count once."""
        return max(self.numbers.values(), default=0) + 1

    @property
    def names(self) -> set[str]:
        """Categories of the training rows, without that of empty cells."""
        return set(self.numbers) - {""}

    def number_cells(self, cells: PackedValues[object]) -> np.ndarray:
        """Return the number [N] of each cell, 0 where no training row has its category.

        Args:
            cells: of any rows.
        """
        numbers = (self.numbers.get(word, 0) for word in cells.map(as_category))
        return np.fromiter(numbers, dtype=np.int64, count=len(cells))

    def number_cell(self, cell: object) -> int:
        """Return the number of a cell, 0 where no training row has its category.

        Args:
            cell: None where it is missing.
        """
        return self.numbers.get(as_category(cell), 0)

    def encode(self, numbers: np.ndarray, encoding: CategoryEncoding) -> np.ndarray:
        """Encode numbered categories.

        Args:
            numbers: of categories [N].
            encoding: one_hot or frequency.

        Returns:
            [N, cardinality - 1] for one_hot, all 0 where unknown; [N, 1] for frequency.
        """
        if encoding == "frequency":
            return np.array(self.shares, dtype=np.float32)[numbers, None]
        return np.eye(self.cardinality, dtype=np.float32)[numbers, 1:]

    def find_name(self, number: int) -> str | int:
        """Return the category of a number, or the number itself where there is none.

        Args:
            number: from 1.
        """
        names = {number_of_name: name for name, number_of_name in self.numbers.items()}
        return names.get(number, number)

    def describe_unknown(self, column: str, words: np.ndarray, rows: str) -> list[str]:
        """Return a line about words that no training row has, or none if there is none.

        Args:
            column: its name.
            words: categories of rows that were not fitted [n].
            rows: what these rows are called.
        """
        unknown = [word for word in words if word not in self.numbers]
        if not unknown:
            return []
        named = next((word for word in unknown if word), "")
        first = f", the first is {named[:MAX_NAME]!r}" if named else ""
        num_empty = unknown.count("")
        empty = f" ({num_empty} of them are empty)" if num_empty else ""
        subject = f"column '{column}': {len(unknown)} of {len(words)} {rows}"
        return [f"{subject} have a category that no training row has{first}; they are read as unknown{empty}"]


def fit_categories(words: np.ndarray, encoding: CategoryEncoding, min_frequency: int) -> CategoryTransform:
    """Number the categories of one column.

    Args:
        words: of the training rows [N].
        encoding: how they are encoded.
        min_frequency: training rows that a category needs; rarer ones are merged into one.
    """
    counts = Counter(words)
    common = sorted(word for word, count in counts.items() if count >= min_frequency)
    rare = sorted(set(counts) - set(common))
    numbers = {word: number for number, word in enumerate(common, start=1)}
    numbers |= dict.fromkeys(rare, len(common) + 1)
    return CategoryTransform(numbers, _compute_shares(counts, numbers) if encoding == "frequency" else [])


def describe_categories(column: str, words: np.ndarray, encoding: CategoryEncoding, min_frequency: int) -> list[str]:
    """Return lines about what is on besides the defaults, and about categories that may be one.

    Args:
        column: its name.
        words: of the training rows [N].
        encoding: how they are encoded.
        min_frequency: training rows that a category needs.
    """
    counts = Counter(words)
    rare = sorted(word for word, count in counts.items() if count < min_frequency)
    lines = []
    if rare:
        lines.append(
            f"column '{column}': {len(rare)} of {len(counts)} categories have fewer than {min_frequency} "
            f"training rows, and are merged, such as {rare[0][:MAX_NAME]!r}"
        )
    if encoding != "embedding":
        lines.append(f"column '{column}': categories become {ENCODED[encoding]}")
    pairs = find_near_equal(set(counts) - {""})
    if pairs:
        first_word, second_word = pairs[0]
        lines.append(
            f"column '{column}': the categories {first_word!r} and {second_word!r} are nearly equal; "
            "if they are one, spell them alike"
        )
    return lines


def as_category(cell: object) -> str:
    """Return a cell as a category, "" where it is missing.

    Args:
        cell: of any type.
    """
    return "" if cell is None else normalize_name(cell)


def _compute_shares(counts: Mapping[str, int], numbers: Mapping[str, int]) -> list[float]:
    """Return the standardised share of training rows by the number of a category, 0 for an unknown one first."""
    shares = np.zeros(max(numbers.values(), default=0) + 1)
    for word, count in counts.items():
        shares[numbers[word]] += count / max(1, sum(counts.values()))
    mean = (shares * shares).sum()  # over rows
    deviation = np.sqrt((shares * (shares - mean) ** 2).sum())
    standardised: list[float] = ((shares - mean) / deviation if deviation > 0 else shares * 0.0).tolist()
    return standardised
