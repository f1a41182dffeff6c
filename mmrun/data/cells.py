"""Parses the cells of a user's file: file names, texts, series, records of numbers and categories, targets."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar, cast

import numpy as np

from mmrun.data import limits
from mmrun.data.cell_files import CellFiles
from mmrun.data.file_digests import DIGEST_SIZE, FileDigests
from mmrun.data.infer import Modality
from mmrun.data.names import normalize_name, sort_names
from mmrun.data.packed import PackedValues, Records, is_present
from mmrun.data.preprocess.series import read_numbers
from mmrun.data.sheets.numbers import as_number, is_missing_mark, parse_numbers, parse_series
from mmrun.data.sheets.sheet import Sheet
from mmrun.data.table import Target
from mmrun.errors import DataError

T = TypeVar("T")
RawValues = (  # of one modality
    PackedValues[Path | None] | PackedValues[str | Path | None] | PackedValues[np.ndarray | Path | None] | Records
)
Label = str | list[str] | float | np.ndarray  # of one row: a class, a set of labels, a number or several


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

    def reject(self, row: int, reason: str) -> None:
        """Mark a row as bad.

        Args:
            row: its number.
            reason: of several for one row, the first is reported.
        """
        message = f"{self._sheet.name}:{self._sheet.lines[row]}: {reason}"
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
                problems[code] = str(error)
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
                self.reject(row, f"column '{column}': {error}")
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
        if numbers is None:
            return self.read_column(column, _parse_number)
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
        if encoded is not None and len(encoded.values) == len(ids):
            return ids
        first_rows: dict[str, int] = {}
        for row, name in enumerate(ids):
            if name is not None and first_rows.setdefault(name, row) != row:
                line = self._sheet.lines[first_rows[name]]
                self.reject(row, f"column '{column}': '{name}' is also in line {line}; ids have to be unique")
        return ids

    def require_any_modality(self, values: Mapping[str, Sequence[object]]) -> None:
        """Reject the rows in which every modality is missing.

        Args:
            values: N raw values by modality.
        """
        present = [is_present(column) for column in values.values()]
        for row in np.flatnonzero(~np.any(present, axis=0)).tolist():
            self.reject(row, f"{', '.join(values)}: all are empty; fill one in, or remove the row")

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


class FileResolver:
    """Resolves the file names in cells, and remembers the sizes of the files.

    Args:
        root: the folder that relative names start from.
        allow_outside: whether a name may lead out of it.
        root_option: what sets the root, for errors.
        cache: folder in which pictures and sounds that lie in cells are stored; None: a temporary one.

    Attributes:
        sizes: bytes, by path relative to the root.
    """

    def __init__(
        self,
        root: Path,
        allow_outside: bool,
        root_option: str = "dataset.root=FOLDER",
        cache: Path | None = None,
    ) -> None:
        self._root_option = root_option
        self._cell_files = CellFiles(cache)
        self._root, self._allow_outside = os.path.abspath(root), allow_outside
        self._real_root = os.path.realpath(root)
        self._is_folder_inside: dict[str, bool] = {}  # by path, links resolved
        self.sizes: dict[str, int] = {}

    def resolve(self, cell: object) -> Path:
        """Return the path of a file.

        Raises:
            DataError: the file does not exist, is empty, or lies outside the root, if only by a symbolic link.
        """
        if isinstance(cell, bytes):
            return self._cell_files.store(cell)
        if not isinstance(cell, str):
            raise DataError(f"{cell!r} is not a file name; give a path below {self._root}")
        path = os.path.normpath(os.path.join(self._root, cell))
        is_inside = path.startswith(self._root.rstrip(os.sep) + os.sep)
        if not (is_inside or self._allow_outside):
            raise DataError(
                f"'{cell}' lies outside {self._root}; set {self._root_option} or dataset.allow_outside=true"
            )
        if not (self._allow_outside or self._is_really_inside(path)):
            raise DataError(f"'{cell}' is a link out of {self._root}; copy the file, or set dataset.allow_outside=true")
        try:
            stat = os.stat(path)
        except (OSError, ValueError):
            mend = f"correct the name, or set {self._root_option}"
            if os.path.exists(path.replace("\\", "/")):
                mend = "write / instead of \\"
            raise DataError(f"'{cell}' does not exist; {mend}") from None
        if not S_ISREG(stat.st_mode) or stat.st_size == 0:
            raise DataError(f"'{cell}' is empty or not a file; replace it")
        if stat.st_size > limits.MAX_FILE_BYTES:
            raise DataError(f"'{cell}' has {stat.st_size:,} bytes; more than 2 GiB are refused, so split it")
        self.sizes[os.path.relpath(path, self._root).replace(os.sep, "/")] = stat.st_size
        return Path(path)

    def _is_really_inside(self, path: str) -> bool:
        """Return whether a path, which need not exist, stays inside the root when symbolic links are resolved."""
        folder = os.path.dirname(path)
        if folder not in self._is_folder_inside:
            self._is_folder_inside[folder] = self._is_in_real_root(folder)
        return self._is_folder_inside[folder] and (not os.path.islink(path) or self._is_in_real_root(path))

    def _is_in_real_root(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._real_root or real.startswith(self._real_root.rstrip(os.sep) + os.sep)

    def digest_contents(self, digests: FileDigests) -> str:
        """Return a digest of the names and the contents of all files that were resolved.

        Args:
            digests: of single files.
        """
        names = sorted(self.sizes)
        contents = digests.digest(os.path.normpath(os.path.join(self._root, name)) for name in names)
        whole = blake2b(digest_size=DIGEST_SIZE)
        for name, content in zip(names, contents, strict=True):
            whole.update(f"{name}\n{content}\n".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def parse_text(self, cell: object) -> str | Path:
        """Return the text itself, or the path of the .txt file that the cell names.

        Raises:
            DataError: the cell is a list or an object.
        """
        if isinstance(cell, list | dict | bytes):
            raise DataError(f"is a {type(cell).__name__}, not text; write a string")
        text = str(cell)
        if text.lower().endswith(".txt") and os.path.isfile(os.path.join(self._root, text)):
            return self.resolve(text)
        return text

    def parse_series(self, cell: object) -> np.ndarray | Path:
        """Return the numbers, or the path of the .npy file that the cell names.

        Returns:
            [T] or two axes, float32, or a path.

        Raises:
            DataError: the cell is neither.
        """
        if not isinstance(cell, str):
            return read_numbers(cell).astype(np.float32)
        if cell.lower().endswith((".npy", ".csv", ".tsv")):
            return self.resolve(cell)
        numbers: object = parse_series(cell)
        if numbers is None:
            try:
                numbers = limits.parse_json(cell)
            except ValueError:
                raise DataError(f"{cell[:40]!r} is not a series; write [1.5, 2, ...] or name a .npy file") from None
        return read_numbers(numbers).astype(np.float32)


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
    column = modality.columns[0]
    if modality.kind == "text":
        return reader.read_column(column, files.parse_text)
    if modality.kind == "series":
        return reader.read_column(column, files.parse_series)
    return reader.read_column(column, files.resolve)


def get_label_parser(task: str, are_numbers: bool) -> Callable[[object], Label | None]:
    """Return the parser of a target's cells.

    Args:
        task: of the target.
        are_numbers: whether the cells are numbers, among which a mark such as NA is a missing one.

    Returns:
        cell -> class name, list of labels or array of numbers; None where a number is missing.
    """
    parse_class = _parse_numbered_class if are_numbers else _parse_class
    parsers: dict[str, Callable[[object], Label | None]] = {
        "classification": parse_class,
        "ordinal": parse_class,
        "multilabel": _parse_labels,
        "regression": _parse_number,
    }
    return parsers[task]


# -------------------------------------------------------------------------------------------------------------- targets


def encode_target(
    task: str, labels: Sequence[Label | None], column: str, file: str, order: Sequence[str] | None = None
) -> Target:
    """Encode the labels of all rows as a target.

    Args:
        task: of the target.
        labels: N values that `get_label_parser(task)` returned; None: the row's target is hidden.
        column: name of the target column.
        file: name of the user's file.
        order: classes of an ordinal target, lowest first; None: in the order of their numbers.

    Raises:
        DataError: there are fewer than two classes, no order, or lists of different lengths.
    """
    if task == "regression":
        return _encode_numbers(labels, column, file)
    if task == "multilabel":
        return _encode_label_sets(labels)
    from mmrun.types import IGNORE_INDEX  # imported late: it imports torch, which `describe` does not need

    labels = labels if isinstance(labels, PackedValues) else PackedValues(labels)
    encoded = labels.encode()
    different = labels if encoded is None else encoded.values
    names = sort_names({str(label) for label in different if label is not None})
    if len(names) < 2:
        raise DataError(
            f"{file}: column '{column}': all rows are {', '.join(names)}; a target needs at least two classes"
        )
    if task == "ordinal":
        names = _order_classes(names, order, column, file)
    numbers = {name: number for number, name in enumerate(names)}
    classes = labels.map(lambda label: IGNORE_INDEX if label is None else numbers[str(label)])
    return Target(task, classes.astype(np.int64), names)


def _encode_label_sets(label_sets: Sequence[Label | None]) -> Target:
    """Encode each row's set of labels as zeros and ones; a hidden row is NaN."""
    distinct: set[str] = set()
    for labels in label_sets:
        distinct.update(() if labels is None else cast(list[str], labels))
    names = sort_names(distinct)
    numbers = {name: number for number, name in enumerate(names)}
    matrix = np.zeros((len(label_sets), len(names)), dtype=np.float32)
    for row, labels in enumerate(label_sets):
        if labels is None:
            matrix[row] = np.nan
        else:
            matrix[row, [numbers[label] for label in cast(list[str], labels)]] = 1
    return Target("multilabel", matrix, names)


def _encode_numbers(labels: Sequence[Label | None], column: str, file: str) -> Target:
    if isinstance(labels, PackedValues) and labels.arrays() is not None:
        column_of_numbers = parse_numbers(labels)
        if column_of_numbers is not None:
            return Target("regression", column_of_numbers.astype(np.float32), [column])
    widths = {np.size(numbers) for numbers in labels if numbers is not None}
    if len(widths) != 1:
        raise DataError(
            f"{file}: column '{column}': has lists of {sorted(widths)} numbers; give every row the same number"
        )
    width = widths.pop()
    hidden = np.full(width, np.nan)
    rows = [hidden if numbers is None else np.reshape(numbers, width) for numbers in labels]
    matrix = np.array(rows, dtype=np.float32)
    if width == 1:
        return Target("regression", matrix[:, 0], [column])
    return Target("regression", matrix, [f"{column}_{i}" for i in range(width)])


def _order_classes(names: list[str], order: Sequence[str] | None, column: str, file: str) -> list[str]:
    """Return the classes of an ordinal target in the given order, or sorted as numbers."""
    if order is None:
        numbers = {name: as_number(name) for name in names}
        words = [name for name, number in numbers.items() if number is None]
        if words:
            raise DataError(
                f"{file}: column '{column}': '{words[0]}' is not a number; give the order with "
                f"dataset.order=[{','.join(names)}], lowest first"
            )
        return sorted(names, key=lambda name: numbers[name] or 0.0)
    classes = [_parse_class(name) for name in order]
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise DataError(
            f"{file}: column '{column}': '{unknown[0]}' is not in dataset.order ({', '.join(classes)}); add it"
        )
    return classes


def _parse_class(cell: object) -> str:
    if isinstance(cell, bytes):
        raise DataError(f"{len(cell):,} bytes of binary data are not a class; name another column")
    if isinstance(cell, list | dict):
        raise DataError(f"{cell!r} is not a class; set dataset.task=multilabel, or give a single value")
    return normalize_name(cell)


def _parse_numbered_class(cell: object) -> str | None:
    """Parse a class among classes that are numbers; a mark such as NA is a missing one."""
    return None if is_missing_mark(cell) else _parse_class(cell)


def _parse_labels(cell: object) -> list[str]:
    """Parse ["a", "b"] or "a|b"; "|" alone means no label."""
    labels = cell if isinstance(cell, list) else str(cell).split("|")
    names = map(normalize_name, labels)
    return [name for name in names if name]


def _parse_number(cell: object) -> Label | None:
    """Parse a number, or a list of numbers; None where one is missing."""
    numbers = [as_number(item) for item in (cell if isinstance(cell, list) else [cell])]
    if None in numbers:
        raise DataError(f"{cell!r} is not a number; correct it, or set dataset.task=classification")
    array = np.array(numbers, dtype=np.float64)
    if np.isnan(array).any():
        return None
    return array if isinstance(cell, list) else float(array[0])
