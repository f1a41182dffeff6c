"""Reads the columns of a user's file: modalities, ids, and numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from mmrun.data.file_resolver import FileResolver
from mmrun.data.infer import Modality
from mmrun.data.items import FrameList, ItemList
from mmrun.data.labels import MAX_TARGET, Label, parse_number
from mmrun.data.names import shorten
from mmrun.data.packed import PackedValues, Records, is_present
from mmrun.data.sheets.numbers import is_infinite, parse_numbers
from mmrun.data.sheets.sheet import Sheet
from mmrun.errors import DataError

MAX_QUOTED = 200  # letters of a cell in a message

T = TypeVar("T")
RawValues = (  # of one modality
    PackedValues[Path | ItemList | None]
    | PackedValues[Path | FrameList | None]
    | PackedValues[str | Path | None]
    | PackedValues[np.ndarray | Path | None]
    | Records
)


class RowReader:
    """Reads the columns of a sheet, and collects its bad rows.

    Args:
        sheet: the user's file.
        on_error: raise: the first bad row raises; skip: bad rows are left out and listed.

    Raises:
        DataError: a row cannot be used, and `on_error` is raise. All methods raise it.
    """

    def __init__(self, sheet: Sheet, on_error: str) -> None:
        self._sheet, self._on_error = sheet, on_error
        self._messages: dict[int, str] = {}  # by bad row
        for row, problem in sheet.problems.items():
            self.reject(row, problem)

    def locate(self, row: int) -> str:
        """Return the name of a row for a message: "my.csv:17".

        Args:
            row: its number.
        """
        return self._sheet.locate_rows()[row]

    def reject(self, row: int, reason: str) -> None:
        """Mark a row as bad.

        Args:
            row: its number.
            reason: of several for one row, the first is reported.
        """
        message = f"{self.locate(row)}: {reason}"
        if self._on_error == "raise":
            raise DataError(message)
        self._messages.setdefault(row, message)

    def read_column(
        self, column: str, parse: Callable[[object], T], required: bool = False
    ) -> "PackedValues[T | None]":
        """Parse every cell of a column.

        Args:
            column: its name.
            parse: cell -> value; raises a DataError where that is impossible.
            required: whether an empty cell is an error.

        Returns:
            N values, None where the cell is empty or the row is bad.
        """
        encoded = self._sheet.columns[column].encode()
        if encoded is None:
            return PackedValues(self._parse_cells(column, parse, required))
        values: list[T | None] = []
        problems = {-1: "is empty; fill it in"} if required else {}  # by number of the value
        for code, cell in enumerate(encoded.values):
            try:
                values.append(parse(cell))
            except DataError as error:
                problems[code] = _quote_start(str(error), cell)
                values.append(None)
        for row in np.flatnonzero(np.isin(encoded.codes, list(problems))).tolist():
            self.reject(row, f"column '{column}': {problems[int(encoded.codes[row])]}")
        return PackedValues.from_codes(values, encoded.codes)

    def _parse_cells(self, column: str, parse: Callable[[object], T], required: bool) -> Iterator[T | None]:
        for row, cell in enumerate(self._sheet.columns[column]):
            value = None
            try:
                if cell is not None:
                    value = parse(cell)
                elif required:
                    raise DataError("is empty; fill it in")
            except DataError as error:
                self.reject(row, f"column '{column}': {_quote_start(str(error), cell)}")
            yield value

    def read_numbers(self, column: str) -> "PackedValues[Label | None]":
        """Read a column of numbers, or of lists of numbers.

        Args:
            column: its name.

        Returns:
            N values, None where a number is missing or the row is bad.
        """
        cells = self._sheet.columns[column]
        numbers = None if cells.arrays() is None else parse_numbers(cells)
        if numbers is None or _has_unusable_number(cells, numbers):
            return self.read_column(column, parse_number)
        return cast(PackedValues[Label | None], PackedValues.from_numbers(numbers))

    def read_records(self, columns: Sequence[str]) -> Records:
        """Return the cells of several columns row by row, None where all of them are empty.

        Args:
            columns: their names.
        """
        cells: dict[str, PackedValues[object]] = {}
        for name in columns:
            cells |= self._sheet.date_features.get(name) or {name: self._sheet.columns[name]}
        return Records(cells)

    def read_ids(self, column: str) -> PackedValues[str | None]:
        """Read a column whose cells name the rows; an id that is empty or occurs twice is an error.

        Args:
            column: its name.
        """
        ids = self.read_column(column, str, required=True)
        encoded = ids.encode()
        if encoded is not None and len(encoded.dictionary) == len(ids):
            return ids
        first_rows: dict[str, int] = {}
        for row, name in enumerate(ids):
            if name is not None and first_rows.setdefault(name, row) != row:
                first = self._sheet.locate_rows()[first_rows[name]]
                self.reject(row, f"column '{column}': '{shorten(name)}' is also in {first}; ids have to be unique")
        return ids

    def require_any_modality(self, values: Mapping[str, Sequence[object]], has_times: bool = False) -> None:
        """Reject the rows in which every modality is missing.

        Args:
            values: N raw values by modality.
            has_times: whether some of them are read from streams, at the time of the row.
        """
        empty = "are empty, or their streams have nothing at its time" if has_times else "are empty"
        present = [is_present(column) for column in values.values()]
        for row in np.flatnonzero(~np.any(present, axis=0)).tolist():
            self.reject(row, f"{', '.join(values)}: all {empty}; fill one in, or remove the row")

    def require_single_items(self, column: str, values: Sequence[object]) -> None:
        """Reject the rows with several items, where a run was trained on single ones.

        Args:
            column: name of the column.
            values: N raw values.
        """
        for row, value in enumerate(values):
            if isinstance(value, ItemList):
                self.reject(row, f"column '{column}': names {len(value)} files, but the run was trained on one a row")

    def require_labels(self, column: str, labels: Sequence[object], split: "PackedValues[str | None]") -> None:
        """Reject the rows of the val and test splits that have no label.

        Args:
            column: name of the target column.
            labels: its N values.
            split: of each row.
        """
        needs_label = split.map(lambda name: name in ("val", "test")).astype(bool)
        for row in np.flatnonzero(needs_label & ~is_present(labels)).tolist():
            self.reject(
                row, f"column '{column}': is empty, and the row is in {split[row]}; fill it in, or move it to train"
            )

    def select_valid_rows(self) -> np.ndarray:
        """Return the numbers of the rows that are not bad.

        Returns:
            [n] int64, ascending, at least one.
        """
        is_valid = np.ones(len(self._sheet.lines), dtype=bool)
        is_valid[list(self._messages)] = False
        rows = np.flatnonzero(is_valid)
        if len(rows) == 0:
            raise DataError(f"{next(iter(self._messages.values()))} (and no other row is left)")
        return rows

    @property
    def skipped(self) -> list[str]:
        """Which rows are bad and why, "my.csv:17: reason", in the order of the file."""
        return [self._messages[row] for row in sorted(self._messages)]


def _quote_start(message: str, cell: object) -> str:
    """Return a message in which a cell, which may have megabytes, is quoted by its start."""
    text = str(cell)
    return message if len(text) <= MAX_QUOTED else message.replace(text, shorten(text, MAX_QUOTED))


def _has_unusable_number(cells: PackedValues[object], numbers: np.ndarray) -> bool:
    """Return whether a number is infinite or beyond float32; `parse_number` raises an error for it."""
    is_missing = np.isnan(numbers)
    if (np.abs(numbers[~is_missing]) > MAX_TARGET).any():
        return True
    return bool(cells.take(np.flatnonzero(is_missing)).map(is_infinite).any())


def read_values(reader: RowReader, modality: Modality, files: FileResolver) -> RawValues:
    """Read the raw values of a modality.

    Args:
        reader: of the file's rows.
        modality: its kind and columns.
        files: resolves the file names in its cells.

    Returns:
        N values, None where the modality is missing.
    """
    if modality.kind == "tabular":
        return reader.read_records(modality.columns)
    parsers: dict[str, Callable[[object], Any]] = {
        "text": files.parse_text,
        "series": files.parse_series,
        "video": files.parse_video,
    }
    return reader.read_column(modality.columns[0], parsers.get(modality.kind, files.parse_files))
