"""The content of a user's file or folder: named columns of cells, and where each row stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from mmrun.data.names import join_names
from mmrun.data.packed import PackedValues
from mmrun.data.sheets.chunks import SAMPLE_ROWS
from mmrun.data.sheets.formats import DateFormat, NumberFormat, WordFormat

MAX_NAMED = 6  # columns in a location


class Reading(NamedTuple):
    """How the cells of a column are read.

    Attributes:
        kind: number, date, text or category; "" if nothing was chosen.
        format: parses a cell; None: cells are taken as they are written.
        note: what was chosen, a line.
        warning: what may be a mistake, a line.
        error: what has to be set before the column can be used.
    """

    kind: str
    format: NumberFormat | DateFormat | WordFormat | None
    note: str = ""
    warning: str = ""
    error: str = ""


@dataclass(frozen=True)
class Places(Sequence[str]):
    """Where each row stands in several files, formatted only when it is read.

    Attributes:
        files: their names.
        numbers: [N], the file of each row.
        lines: [N], the line of each row in its file; None: each row is a whole file.
    """

    files: Sequence[str]
    numbers: np.ndarray
    lines: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> "Places":
        """Return the places of some rows.

        Args:
            rows: row numbers [n].
        """
        return Places(self.files, self.numbers[rows], None if self.lines is None else self.lines[rows])

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]  # no slices
        file = self.files[int(self.numbers[row])]
        return file if self.lines is None else f"{file}:{self.lines[row]}"


@dataclass(frozen=True)
class Sheet:
    """The content of a user's file or folder: N rows in its order.

    Attributes:
        name: of the file, "my.csv", or folder.
        columns: cells by column name; an empty cell is None.
        lines: [N] int64, line number of each row; of several files together.
        problems: why a row as a whole cannot be used, by row number.
        readings: how columns were read that are not taken as they are written.
        date_features: what encoders read of a column of dates, by column and feature.
        places: of the rows, where they are those of several files.
        derived: columns that come from the names of folders and files; they are never modalities.
    """

    name: str
    columns: dict[str, PackedValues[object]]
    lines: np.ndarray
    problems: dict[int, str]
    readings: Mapping[str, Reading] = field(default_factory=dict)
    date_features: Mapping[str, dict[str, PackedValues[object]]] = field(default_factory=dict)
    places: Places | None = None
    derived: frozenset[str] = frozenset()

    def head(self) -> "Sheet":
        """Return the first rows, from which kinds are inferred."""
        columns = {name: column.head(SAMPLE_ROWS) for name, column in self.columns.items()}
        problems = {row: problem for row, problem in self.problems.items() if row < SAMPLE_ROWS}
        places = None if self.places is None else self.places.take(np.arange(min(SAMPLE_ROWS, len(self.places))))
        return replace(self, columns=columns, lines=self.lines[:SAMPLE_ROWS], problems=problems, places=places)

    def columns_read_as(self, kind: str) -> list[str]:
        """Return the columns with a reading of one kind, without those in which the cells show it.

        Args:
            kind: number, date, text or category.
        """
        return [name for name, reading in self.readings.items() if reading.kind == kind and reading.format is None]

    def locate_rows(self, columns: Sequence[str] = ()) -> "Locations":
        """Return the location of each row: "my.csv:17", or "my.csv:17: column 'photo'".

        Args:
            columns: names to append.
        """
        if not columns:
            return Locations(self.name, self.lines, "", self.places)
        names = join_names([f"'{column}'" for column in columns], MAX_NAMED)
        suffix = f": column{'s' if len(columns) > 1 else ''} {names}"
        return Locations(self.name, self.lines, suffix, self.places)


@dataclass(frozen=True)
class Locations(Sequence[str]):
    """The location of each row as text, formatted only when it is read.

    Attributes:
        name: of the file.
        lines: [N] int64.
        suffix: follows the line number.
        places: of the rows, where they are those of several files.
    """

    name: str
    lines: np.ndarray
    suffix: str
    places: Places | None = None

    def take(self, rows: np.ndarray) -> "Locations":
        """Return the locations of some rows.

        Args:
            rows: row numbers [n].
        """
        places = None if self.places is None else self.places.take(rows)
        return Locations(self.name, self.lines[rows], self.suffix, places)

    def locate(self, row: int) -> str:
        """Return the location of a row without its columns.

        Args:
            row: its number.
        """
        return f"{self.name}:{self.lines[row]}" if self.places is None else self.places[row]

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]  # no slices
        return self.locate(row) + self.suffix
