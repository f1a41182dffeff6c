"""The cells of a user's file as values: files found, texts, series, rows of numbers, answers."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np

from mmrun.data.infer import Modality
from mmrun.data.packed import Packed, Records, present
from mmrun.data.preprocess.series import read_series
from mmrun.data.preprocess.tabular import as_number
from mmrun.data.table import Target
from mmrun.data.table_file import Sheet
from mmrun.errors import DataError


class Rows:
    """The rows of a sheet while they are checked: a bad one raises, or under on_error=skip is left out and said."""

    def __init__(self, sheet: Sheet, on_error: str) -> None:
        self._sheet, self._on_error = sheet, on_error
        self._bad: dict[int, str] = {}
        for row, reason in sheet.broken.items():
            self.refuse(row, reason)

    def refuse(self, row: int, reason: str) -> None:
        """Report a row; the first reason counts."""
        said = f"{self._sheet.name}:{self._sheet.lines[row]}: {reason}"
        if self._on_error == "raise":
            raise DataError(said)
        self._bad.setdefault(row, said)

    def each(self, column: str, read: Callable[[Any], Any], required: bool = False) -> Packed:
        """Read every cell of a column; None where it is empty or bad."""
        return Packed(self._read(column, read, required))

    def _read(self, column: str, read: Callable[[Any], Any], required: bool) -> Iterator[Any]:
        for row, cell in enumerate(self._sheet.columns[column]):
            value = None
            try:
                if cell is not None:
                    value = read(cell)
                elif required:
                    raise DataError("is empty; fill it in")
            except DataError as error:
                self.refuse(row, f"column '{column}': {error}")
            yield value

    def together(self, columns: Sequence[str]) -> Records:
        """Return the cells of several columns, row by row; None where all are empty."""
        return Records({name: self._sheet.columns[name] for name in columns})

    def unique(self, column: str) -> Packed:
        """Read a column whose cells name the rows."""
        names = self.each(column, str, required=True)
        first: dict[str, int] = {}
        for row, name in enumerate(names):
            if name is not None and first.setdefault(name, row) != row:
                line = self._sheet.lines[first[name]]
                self.refuse(row, f"column '{column}': '{name}' is also in line {line}; give each row its own")
        return names

    def need_one_of(self, values: Mapping[str, Sequence[Any]]) -> None:
        """Refuse rows in which every modality is empty."""
        for row in np.flatnonzero(~np.any([present(column) for column in values.values()], axis=0)).tolist():
            self.refuse(row, f"{', '.join(values)}: all are empty; fill one in, or take the row out")

    def need_answers(self, column: str, answers: Sequence[Any], split: Sequence[str | None]) -> None:
        """Refuse rows that are to be evaluated and have no target."""
        for row, (answer, name) in enumerate(zip(answers, split, strict=True)):
            if answer is None and name in ("val", "test"):
                self.refuse(
                    row, f"column '{column}': is empty, and the row is in {name}; fill it in, or move it to train"
                )

    def kept(self) -> np.ndarray:  # [n] int64, ascending
        """Return the rows that are left."""
        kept = np.setdiff1d(np.arange(len(self._sheet.lines)), list(self._bad))
        if len(kept) == 0:
            raise DataError(f"{next(iter(self._bad.values()))} (and no other row is left)")
        return kept

    def skipped(self) -> list[str]:
        """Return what was left out and why, in the order of the file."""
        return [self._bad[row] for row in sorted(self._bad)]


class Files:
    """Finds the files that cells name, and remembers their sizes."""

    def __init__(self, root: Path, allow_outside: bool) -> None:
        self._root, self._allow_outside = os.path.abspath(root), allow_outside
        self.sizes: dict[str, int] = {}  # bytes, by path below the root

    def find(self, cell: Any) -> Path:
        """Return the path of a file that exists, lies below the root as written, and is not empty."""
        if not isinstance(cell, str):
            raise DataError(f"{cell!r} is no file name; give a path below {self._root}")
        whole = os.path.normpath(os.path.join(self._root, cell))
        inside = whole.startswith(self._root.rstrip(os.sep) + os.sep)
        if not (inside or self._allow_outside):
            raise DataError(
                f"'{cell}' lies outside {self._root}; set dataset.root=FOLDER or dataset.allow_outside=true"
            )
        try:
            found = os.stat(whole)
        except (OSError, ValueError):
            raise DataError(f"'{cell}' is not there; mend the name, or set dataset.root=FOLDER") from None
        if not S_ISREG(found.st_mode) or found.st_size == 0:
            raise DataError(f"'{cell}' is empty, or no file; replace it")
        self.sizes[os.path.relpath(whole, self._root).replace(os.sep, "/")] = found.st_size
        return Path(whole)

    def text(self, cell: Any) -> str | Path:
        """Return the text itself, or the path of the .txt file that it names."""
        if isinstance(cell, list | dict):
            raise DataError(f"is a {type(cell).__name__}, no text; write a string")
        text = str(cell)
        if text.lower().endswith(".txt") and os.path.isfile(os.path.join(self._root, text)):
            return self.find(text)
        return text

    def series(self, cell: Any) -> np.ndarray | Path:
        """Return the numbers, or the path of the .npy file that the cell names."""
        if isinstance(cell, str) and cell.lower().endswith(".npy"):
            return self.find(cell)
        try:
            numbers = json.loads(cell) if isinstance(cell, str) else cell
        except ValueError:
            raise DataError(f"{cell[:40]!r} is no series; write [1.5, 2, ...] or name a .npy file") from None
        series: np.ndarray = read_series(numbers).astype(np.float32)
        return series


def values(rows: Rows, modality: Modality, files: Files) -> Packed | Records:
    """Read the raw values of a modality."""
    if modality.kind == "tabular":
        return rows.together(modality.columns)
    read = {"image": files.find, "audio": files.find, "text": files.text, "series": files.series}[modality.kind]
    return rows.each(modality.columns[0], read)


def answer(task: str) -> Callable[[Any], Any]:
    """Return the parser of a target's cell: a class name, a list of labels, or numbers."""
    return {"classification": _class, "ordinal": _class, "multilabel": _labels, "regression": _numbers}[task]


def encode(task: str, answers: Sequence[Any], column: str, file: str, order: Sequence[str] | None = None) -> Target:
    """Make the target of all rows; a row without an answer is hidden. `order`: of ordinal classes, lowest first."""
    if task == "regression":
        return _encode_numbers(answers, column, file)
    if task == "multilabel":
        names = _in_order({label for labels in answers if labels is not None for label in labels})
        matrix = np.zeros((len(answers), len(names)), dtype=np.float32)
        place = {name: i for i, name in enumerate(names)}
        for row, labels in enumerate(answers):
            matrix[row, [] if labels is None else [place[label] for label in labels]] = 1
            if labels is None:
                matrix[row] = np.nan
        return Target(task, matrix, names)
    from mmrun.types import IGNORE_INDEX  # late: it brings torch along, which `describe` does not wait for

    names = _in_order({name for name in answers if name is not None})
    if len(names) < 2:
        raise DataError(
            f"{file}: column '{column}': all rows are {', '.join(names)}; a target has at least two classes"
        )
    if task == "ordinal":
        names = _ranked(names, order, column, file)
    number: dict[str | None, int] = {name: i for i, name in enumerate(names)}
    number[None] = IGNORE_INDEX
    return Target(task, np.array([number[name] for name in answers], dtype=np.int64), names)


def _ranked(names: list[str], order: Sequence[str] | None, column: str, file: str) -> list[str]:
    """Put the classes of an ordinal target in order: the one that is said, else that of numbers."""
    if order is None:
        numbers = {name: as_number(name) for name in names}
        words = [name for name, number in numbers.items() if number is None]
        if words:
            raise DataError(
                f"{file}: column '{column}': '{words[0]}' is no number; say the order with "
                f"dataset.order=[{','.join(names)}], lowest first"
            )
        return sorted(names, key=lambda name: numbers[name] or 0.0)
    ranked = [_class(name) for name in order]
    unknown = [name for name in names if name not in ranked]
    if unknown:
        raise DataError(
            f"{file}: column '{column}': '{unknown[0]}' is not in dataset.order ({', '.join(ranked)}); add it"
        )
    return ranked


def _encode_numbers(answers: Sequence[np.ndarray | None], column: str, file: str) -> Target:
    widths = {len(numbers) for numbers in answers if numbers is not None}
    if len(widths) != 1:
        raise DataError(f"{file}: column '{column}': lists of {sorted(widths)} numbers; give every row as many")
    width = widths.pop()
    blank = np.full(width, np.nan)
    matrix = np.array([blank if numbers is None else numbers for numbers in answers], dtype=np.float32)
    if width == 1:
        return Target("regression", matrix[:, 0], [column])
    return Target("regression", matrix, [f"{column}_{i}" for i in range(width)])


def _class(cell: Any) -> str:
    if isinstance(cell, list | dict):
        raise DataError(f"{cell!r} is no class; say dataset.task=multilabel, or give one value")
    if isinstance(cell, bool):
        return str(cell).lower()
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _labels(cell: Any) -> list[str]:
    """Read ["a", "b"] or "a|b"; "|" alone is no label."""
    labels = cell if isinstance(cell, list) else str(cell).split("|")
    return [str(label).strip() for label in labels if str(label).strip()]


def _numbers(cell: Any) -> np.ndarray | None:
    numbers = [as_number(item) for item in (cell if isinstance(cell, list) else [cell])]
    if None in numbers:
        raise DataError(f"{cell!r} is no number; mend it, or say dataset.task=classification")
    array = np.array(numbers, dtype=np.float64)
    return None if np.isnan(array).any() else array


def _in_order(names: set[str]) -> list[str]:
    """Sort names, whole numbers by size."""
    return sorted(names, key=int) if all(name.lstrip("-").isdecimal() for name in names) else sorted(names)
