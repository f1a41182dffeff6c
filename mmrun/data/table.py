"""What every data set is after it was opened and before anything is decoded: named columns, targets, a split."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.data.packed import present

SPLITS = ("train", "val", "test")
CLASSES = ("classification", "ordinal")  # tasks whose targets are class numbers


@dataclass(frozen=True)
class Column:
    """The raw values of one modality, an entry a row: a path, a string, an array, a dict of cells; None: missing."""

    kind: str
    values: Sequence[Any]
    where: Sequence[str] | None = None  # "my.csv:17" for each row, so that an error can name it

    def present(self) -> np.ndarray:  # [N] bool
        """Return which rows have a value."""
        return present(self.values)

    def place(self, row: int) -> str:
        """Return the name of a row for an error message."""
        return f"row {row}" if self.where is None else self.where[row]

    @property
    def from_files(self) -> bool:
        """Return whether any row is read from a file."""
        return self.kind != "tabular" and any(isinstance(value, Path) for value in self.values)


@dataclass(frozen=True)
class Target:
    """One column to be predicted."""

    task: str  # classification | ordinal | multilabel | regression
    values: (
        np.ndarray
    )  # [N] int64 classes (-100 unknown) | [N, C] float32 labels | [N] or [N, C] float32 numbers (NaN unknown)
    names: list[str]  # class (of an ordinal target, lowest first), label or output names


@dataclass(frozen=True)
class Table:
    """A data set: rows in one fixed order."""

    ids: Sequence[str]
    columns: dict[str, Column]  # by modality
    targets: dict[str, Target]  # by task name
    split: np.ndarray  # [N] str, each one of SPLITS
    fingerprint: str  # of the content, the same on every machine
    groups: np.ndarray | None = None  # [N], rows of one group never stand in two splits
    root: Path | None = None  # the folder that relative paths start from
    skipped: list[str] = field(default_factory=list)  # bad rows left out under on_error=skip: "file:row: reason"
    on_error: str = "raise"  # raise | skip: what becomes of a row that turns out bad when it is decoded

    def rows(self, split: str) -> np.ndarray:  # [n] int64, ascending
        """Return the row numbers of a split."""
        return np.flatnonzero(self.split == split)
