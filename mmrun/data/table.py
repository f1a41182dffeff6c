"""The table that every data source returns: raw columns, targets and a split, before anything is decoded."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmrun.data.items import ItemOptions, list_paths
from mmrun.data.packed import is_present

SPLITS = ("train", "val", "test")
SeriesLayout = Literal["auto", "time_first", "channels_first"]
CLASSES = ("classification", "ordinal")  # tasks whose targets are class numbers


@dataclass(frozen=True)
class Column:
    """The raw values of one modality.

    Attributes:
        kind: image, text, audio, tabular or series.
        values: one entry per row: a path, a string, an array or a dict of cells; None where the modality is missing.
        locations: names each row in error messages, for example "my.csv:17"; None: rows are named by their number.
        categorical: names of tabular columns that are categories even where all their cells are numbers.
        items: how several items of a row are read; None: each row is a single one.
        layout: of series with two axes: time_first or channels_first; auto: chosen from the rows.
    """

    kind: str
    values: Sequence[Any]
    locations: Sequence[str] | None = None
    categorical: frozenset[str] = frozenset()
    items: ItemOptions | None = None
    layout: SeriesLayout = "channels_first"

    def is_present(self) -> np.ndarray:
        """Return which rows have a value.

        Returns:
            [N] bool.
        """
        return is_present(self.values)

    def locate(self, row: int) -> str:
        """Return the name of a row for an error message.

        Args:
            row: number in the data set.
        """
        return f"row {row}" if self.locations is None else self.locations[row]

    @property
    def from_files(self) -> bool:
        """Whether any row is read from a file."""
        return self.kind != "tabular" and any(list_paths(value) for value in self.values)


@dataclass(frozen=True)
class Target:
    """One column to predict.

    Attributes:
        task: classification, ordinal, multilabel or regression.
        values: by task: [N] int64 classes, -100 where unknown; [N, C] float32 labels, or [N] or [N, C] float32 numbers,
            NaN where unknown.
        names: of the classes (of an ordinal target, lowest first), labels or outputs.
    """

    task: str
    values: np.ndarray
    names: list[str]


def hash_targets(targets: Mapping[str, Target]) -> str:
    """Return a hash of the values and the classes of all targets.

    Args:
        targets: by task name.
    """
    digest = hashlib.sha256()
    for name, target in sorted(targets.items()):
        digest.update(repr([name, target.task, target.names, target.values.shape, str(target.values.dtype)]).encode())
        digest.update(np.ascontiguousarray(target.values).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Table:
    """A data set: rows in one fixed order.

    Attributes:
        ids: unique name of each row.
        columns: by modality.
        targets: by task name.
        split: [N] str, each one of SPLITS.
        fingerprint: hash of the content, also of the files that cells name; the same on every machine.
        groups: [N]; rows of one group are always in the same split. None: rows are independent.
        root: the folder that relative paths start from.
        skipped: bad rows that were left out because of on_error=skip: "file:row: reason".
        on_error: raise | skip: what happens to a row that cannot be decoded.
        old_fingerprint: what version 0.1.0 recorded, with the sizes of files in place of their content; None: the same.
        notes: what was inferred and why, one line each.
        warnings: what may be a mistake in the data, one line each.
        fields: columns of the user's file that each modality is read from; empty: the data is not from a file.
        formats: how numbers and dates are written in columns that are not plain, see `formats.format_to_json`.
    """

    ids: Sequence[str]
    columns: dict[str, Column]
    targets: dict[str, Target]
    split: np.ndarray
    fingerprint: str
    groups: np.ndarray | None = None
    root: Path | None = None
    skipped: list[str] = field(default_factory=list)
    on_error: str = "raise"
    old_fingerprint: str | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fields: Mapping[str, list[str]] = field(default_factory=dict)
    formats: Mapping[str, dict[str, object]] = field(default_factory=dict)

    def rows(self, split: str) -> np.ndarray:
        """Return the row numbers of a split.

        Args:
            split: one of SPLITS.

        Returns:
            [n] int64, ascending.
        """
        return np.flatnonzero(self.split == split)
