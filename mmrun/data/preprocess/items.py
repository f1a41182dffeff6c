"""Several items of one kind in a row, such as two X-rays of one patient: each is decoded as a single one is."""

from dataclasses import replace
from typing import Any

import numpy as np

from mmrun.data import limits
from mmrun.data.items import ItemList, ItemOptions, list_items
from mmrun.data.packed import PackedValues
from mmrun.data.preprocess.lengths import choose_length, format_share
from mmrun.data.table import Column
from mmrun.data_types import ITEMS, Preprocessor

MAX_CHOSEN = 16  # items of a row, unless dataset.max_items sets more


class Items:
    """Decodes the items of a row one by one: [M, ...] by part, zeros after the last one, and a mask "items" [M].

    Args:
        preprocessor: decodes one item.
        options: how they are pooled, and how many are read.

    Attributes:
        max_items: M, once fitted: 99 % of the training rows are kept whole, unless `options` says another number.
        metadata: that of the preprocessor, and `item_pooling`, for the model.
        notes: of the preprocessor, and how many items are read.
    """

    def __init__(self, preprocessor: Preprocessor, options: ItemOptions | None = None) -> None:
        self.preprocessor = preprocessor
        self.options = options or ItemOptions()
        self.max_items = self.options.max_items or 1
        self.notes: list[str] = []
        self.metadata: dict[str, Any] = {}

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Fit the preprocessor to the items of the training rows, and choose how many of a row are read.

        Args:
            column: raw values, some of them item lists.
            rows: numbers of the training rows [N].
        """
        self.preprocessor.fit(*expand_items(column, rows))
        counts = np.array([np.nan if value is None else len(list_items(value)) for value in column.values])
        if self.options.max_items is None:
            self.max_items = int(choose_length(counts, rows, (1, MAX_CHOSEN)))
        self._update_metadata()
        self.notes = [*getattr(self.preprocessor, "notes", ()), self._describe(counts[np.isfinite(counts)])]

    def _describe(self, counts: np.ndarray) -> str:
        """Describe how many items rows have, and how they are read.

        Args:
            counts: of the rows that are not missing [n].
        """
        if self.options.pooling == "pooled":
            how = "the mean of their vectors represents the row; dataset.items.NAME=tokens keeps them apart"
        else:
            how = "as tokens"
        least, most = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
        numbers = f"{least}" if least == most else f"{least} to {most}"
        if most <= self.max_items:
            return f"{numbers} files in a row: {how}"
        share = format_share(float((counts > self.max_items).mean()))
        return (
            f"{numbers} files in a row, of which the first {self.max_items} are read: {share} of {len(counts):,} rows "
            f"are cut (dataset.max_items); {how}"
        )

    def decode(self, value: object) -> dict[str, np.ndarray]:
        """Decode the items of one row.

        Args:
            value: an item list, or a single item.

        Returns:
            [M, ...] by part of the preprocessor, and "items" [M] bool.

        Raises:
            DataError: an item cannot be decoded.
        """
        decoded = [self.preprocessor.decode(item) for item in list_items(value)[: self.max_items]]
        stacked: dict[str, np.ndarray] = {}
        for name, first in decoded[0].items():
            stacked[name] = np.zeros((self.max_items, *first.shape), dtype=first.dtype)
            for position, parts in enumerate(decoded):
                stacked[name][position] = parts[name]
        return {**stacked, ITEMS: np.arange(self.max_items) < len(decoded)}

    def state(self) -> dict[str, object]:
        """Return the state of the preprocessor, under "item", and how items are read."""
        return {"item": self.preprocessor.state(), "pooling": self.options.pooling, "max_items": self.max_items}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state.

        Args:
            state: of another object.

        Raises:
            ValueError: it says more items than any row may have.
        """
        if not 1 <= state["max_items"] <= limits.MAX_ITEMS:
            raise ValueError(f"max_items is {state['max_items']}, not 1 to {limits.MAX_ITEMS}")
        self.preprocessor.restore(state["item"])
        self.options = ItemOptions(state["pooling"], state["max_items"])
        self.max_items = state["max_items"]
        self._update_metadata()

    def _update_metadata(self) -> None:
        self.metadata = {**self.preprocessor.metadata, "item_pooling": self.options.pooling}


def wrap(preprocessor: Preprocessor, column: Column) -> Preprocessor:
    """Return what decodes a column: the preprocessor, or one of item lists around it.

    Args:
        preprocessor: decodes one item.
        column: that it is going to be fitted to.
    """
    return preprocessor if column.items is None else Items(preprocessor, column.items)


def restore(preprocessor: Preprocessor, state: dict[str, Any]) -> Preprocessor:
    """Return the preprocessor that has a state: this one, or one of item lists around it.

    Args:
        preprocessor: decodes one item.
        state: of the whole.
    """
    whole = Items(preprocessor) if is_of_items(state) else preprocessor
    whole.restore(state)
    return whole


def is_of_items(state: dict[str, Any]) -> bool:
    """Return whether a state is that of a preprocessor of item lists.

    Args:
        state: of any preprocessor.
    """
    return state.keys() == {"item", "pooling", "max_items"}


def has_items(column: Column) -> bool:
    """Return whether any row has several items.

    Args:
        column: raw values.
    """
    values = column.values
    if isinstance(values, PackedValues):
        return values.holds(ItemList)
    return any(isinstance(value, ItemList) for value in values)


def expand_items(column: Column, rows: np.ndarray) -> tuple[Column, np.ndarray]:
    """Return the items of a column as rows of their own.

    Args:
        column: raw values.
        rows: numbers of some rows [n].

    Returns:
        A column of all items, without missing rows, and the numbers of those that belong to `rows`; column and rows
        themselves where each row is one item.
    """
    if not has_items(column):
        return column, rows
    values: list[object] = []
    locations: list[str] = []
    numbers: list[int] = []
    is_chosen = np.isin(np.arange(len(column.values)), rows)
    for row, value in enumerate(column.values):
        for item in () if value is None else list_items(value):
            if is_chosen[row]:
                numbers.append(len(values))
            values.append(item)
            locations.append(column.locate(row))
    return replace(column, values=values, locations=locations), np.array(numbers, dtype=np.int64)
