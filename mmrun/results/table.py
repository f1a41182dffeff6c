"""A table of text: the same on a terminal, in Markdown, in LaTeX and in a report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Style = Literal["best", "failed", "faint"]


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        caption: what it shows; may be empty.
        header: names of the columns.
        rows: cells, as many as there are columns.
        left: number of columns that say what a row is about; they are aligned to the left, and wrap at words.
        details: places of the columns that a narrow terminal shows in a second table. If that is not enough, other
            columns follow, the last one first.
        files: that a page links the first cell of each row to; none, or one for each row.
        styles: how single cells are shown where there are colours, by row and column.
        texts: places of further columns that are aligned to the left and wrap at words.
        keys: number of left columns that a second table repeats; None: all of them.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    left: int = 1
    details: tuple[int, ...] = ()
    files: list[Path] = field(default_factory=list)
    styles: Mapping[tuple[int, int], Style] = field(default_factory=dict)
    texts: tuple[int, ...] = ()
    keys: int | None = None

    def is_text(self, place: int) -> bool:
        """Return whether a column is aligned to the left.

        Args:
            place: of the column.
        """
        return place < self.left or place in self.texts
