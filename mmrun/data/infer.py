"""Infers from the first rows what the columns of a user's file are: modalities and their kinds, tasks of targets."""

import re
from collections.abc import Container, Mapping, Sequence
from itertools import chain, count
from pathlib import PurePosixPath
from typing import NamedTuple
from unicodedata import normalize

import numpy as np

from mmrun.data.cell_files import infer_content
from mmrun.data.items import split_items
from mmrun.data.names import normalize_name
from mmrun.data.packed import PackedValues
from mmrun.data.sheets.chunks import SAMPLE_ROWS
from mmrun.data.sheets.numbers import as_number, is_missing_mark, parse_numbers, parse_series
from mmrun.data.sheets.sheet import Reading, Sheet
from mmrun.data.suffixes import SUFFIXES
from mmrun.data.unreadable import find_unreadable
from mmrun.errors import ConfigError, DataError, nearest
from mmrun.kinds import KINDS

TASKS = ("classification", "ordinal", "multilabel", "regression")  # "ordinal" is never inferred
# Of columns whose .npy files are point clouds; those of others are series
POINT_CLOUD_NAMES = re.compile(r"(?i)(^|[\W_])(lidar|radar|velodyne|points|point_?clouds?)([\W_\d]|$)")
MAX_CATEGORIES = 20  # a column with more distinct words is free text
MAX_CLASSES = 50  # a target with more distinct integers is a number
MIN_SERIES, MIN_WHOLE_SERIES = 3, 8  # numbers in a cell, from which it is a series; where all are whole
NUMBERING_NAMES = {"#", "id", "idx", "index", "no", "nr", "num", "number", "row", "row_number"}  # of row numbers
IDENTIFIER_NAMES = re.compile(r"(?i:(^|[\W_])(id|ids|uid|uuid|guid|identifier|mrn|hash|md5|sha1|sha256))$|[a-z]I[dD]$")
MIN_IDENTIFIERS = 20  # different cells, from which a column so called is one of identifiers
MODULE_ATTRIBUTES = {  # of torch.nn.ModuleDict, where they cannot name a module; the plausible ones for columns
    *("children", "clear", "compile", "cpu", "cuda", "double", "eval", "float", "forward", "half", "items", "keys"),
    *("modules", "parameters", "buffers", "pop", "to", "train", "training", "type", "update", "values", "apply"),
}
MIN_FILE_NAMES = 0.9  # share of the cells, from which a column is one of files; the others are bad rows


class Modality(NamedTuple):
    """Which columns of the user's file are a modality.

    Attributes:
        kind: one of KINDS.
        columns: names; several only for the kind tabular.
        reason: how the kind was determined: "dataset.kinds", "modality name", "file names", "numbers" ...
    """

    kind: str
    columns: list[str]
    reason: str


class InferredTask(NamedTuple):
    """The task of a target, as its cells suggest.

    Attributes:
        task: one of TASKS.
        reason: what the cells are.
    """

    task: str
    reason: str


def infer_modalities(
    sheet: Sheet, columns: Mapping[str, str | Sequence[str]], kinds: Mapping[str, str], reserved: set[str | None]
) -> dict[str, Modality]:
    """Return the modalities of a file by name.

    Args:
        sheet: the file, or its first rows.
        columns: the column or columns of each modality; empty: every column that is not reserved is read, and all
            numbers and categories together become the modality "tabular".
        kinds: of the modalities whose kind is not to be inferred.
        reserved: columns that are targets, split, group or id.

    Raises:
        ConfigError: a column, modality or kind does not exist, or does not fit.
        DataError: no column remains, or one whose kind is to be inferred is empty.
    """
    if columns:
        modalities = {}
        for name, names in columns.items():
            modalities[name] = _requested_modality(sheet, name, names, kinds.get(name))
    else:
        modalities = _remaining_modalities(sheet, kinds, reserved)
    if not modalities:
        raise DataError(f"{sheet.name}: no column is left for a modality; it has {', '.join(sheet.columns)}")
    _check_kinds(kinds, modalities)
    return modalities


def find_row_numbers(sheet: Sheet, reserved: Container[str | None]) -> list[str]:
    """Return the columns that do nothing but number the rows: called so, and one higher in each row.

    Args:
        sheet: the file, or its first rows.
        reserved: columns that are targets, split, group or id.
    """
    numbering = []
    for name, column in sheet.columns.items():
        called = name.strip().lower()
        if name in reserved or not (called in NUMBERING_NAMES or called.startswith("unnamed:")):
            continue
        numbers = [as_number(cell) for cell in column.head(SAMPLE_ROWS)]
        first = numbers[0] if numbers else None
        if first in (0.0, 1.0) and all(number == first + row for row, number in enumerate(numbers)):
            numbering.append(name)
    return numbering


def find_identifiers(sheet: Sheet, reserved: Container[str | None]) -> list[str]:
    """Return the columns that only tell rows apart: called id, uuid or the like, and different in each row.

    Args:
        sheet: the file, or its first rows.
        reserved: columns that are targets, split, group or id.
    """
    identifiers = []
    for name, column in sheet.columns.items():
        if name in reserved or not IDENTIFIER_NAMES.search(name):
            continue
        cells = column.head(SAMPLE_ROWS).drop_empty()
        if len(cells) < MIN_IDENTIFIERS or len(set(map(str, cells))) < len(cells):
            continue
        if not any(_names_any_files(split_items(cell)) for cell in cells):
            identifiers.append(name)
    return identifiers


def require_column(sheet: Sheet, name: str, key_path: str) -> str:
    """Return the name of a column as the file spells it: with composed accents.

    Args:
        sheet: the file.
        name: of the column.
        key_path: the YAML key that names the column.

    Raises:
        ConfigError: there is no such column.
    """
    name = normalize("NFC", name)
    if name not in sheet.columns:
        suggestion = nearest(name, sheet.columns)
        if all(part in sheet.columns for part in name.split(",")):
            suggestion = f"; write {key_path}=[{name}] for several columns, or add -m for several runs"
        raise ConfigError(
            f"{key_path}: {sheet.name} has no column '{name}'{suggestion} (it has {', '.join(sheet.columns)})"
        )
    return name


def infer_task(cells: Sequence[object]) -> InferredTask:
    """Infer the task of a target column.

    Args:
        cells: those that are not empty.

    Returns:
        Regression for numbers of which some are not whole or many differ, and for lists with a float; multilabel for
        other lists; else classification.
    """
    if all(isinstance(cell, list) for cell in cells):
        if any(_contains_float(cell) for cell in cells):
            return InferredTask("regression", "lists of numbers")
        return InferredTask("multilabel", "lists of labels")
    if not are_numbers(cells):
        return InferredTask("classification", "words")
    has_marks = any(map(is_missing_mark, _list_different(cells)))
    numbers = [cell for cell in cells if not is_missing_mark(cell)] if has_marks else cells
    parsed = parse_numbers(numbers)
    if parsed is None or not np.equal(np.mod(parsed, 1), 0).all():
        return InferredTask("regression", "numbers that are not whole")
    num_values = len(set(map(normalize_name, _list_different(numbers))))
    if num_values > min(MAX_CLASSES, max(2, len(numbers) // 2)):
        return InferredTask("regression", f"{num_values} different whole numbers in {len(numbers)} rows")
    return InferredTask("classification", f"only {num_values} different whole numbers in {len(numbers)} rows")


def are_numbers(cells: Sequence[object]) -> bool:
    """Return whether cells are numbers, apart from marks of missing ones such as NA.

    Args:
        cells: those that are not empty.
    """
    numbers = parse_numbers(cells)
    if numbers is None:
        return False
    different = _list_different(cells)
    has_number = not all(is_missing_mark(cell) for cell in different)
    return has_number and not any(isinstance(cell, bool) for cell in different)


def _list_different(cells: Sequence[object]) -> Sequence[object]:
    """Return cells without repetitions, where that is quick."""
    return cells.list_different() if isinstance(cells, PackedValues) else cells


def _requested_modality(sheet: Sheet, modality: str, columns: str | Sequence[str], kind: str | None) -> Modality:
    if name_modality(modality) != modality:
        raise ConfigError(
            f"dataset.columns: '{modality}' cannot name a modality; call it {name_modality(modality)}, for example"
        )
    names = []
    for name in [columns] if isinstance(columns, str) else columns:
        names.append(require_column(sheet, name, f"dataset.columns.{modality}"))
    return _build_modality(modality, names, sheet, kind)


def _remaining_modalities(sheet: Sheet, kinds: Mapping[str, str], reserved: set[str | None]) -> dict[str, Modality]:
    """Make each column that is not reserved a modality, and numbers and categories a common one."""
    modalities: dict[str, Modality] = {}
    names: set[str] = set()
    for column in sheet.columns:
        if column not in reserved:
            name = _make_unique(name_modality(column), names)
            names.add(name)
            modality = _build_modality(name, [column], sheet, kinds.get(name))
            is_shared = modality.kind == "tabular" and name not in kinds
            key = "tabular" if is_shared else name
            modalities[key] = _merge(modalities[key], modality) if key in modalities else modality
    return modalities


def name_modality(column: str) -> str:
    """Return the name of a column's modality: the column itself where that can be a key of a config and of a module.

    Args:
        column: in any script.

    Returns:
        a-z, 0-9, _ and -; "column" if none of its letters is one of these.
    """
    letters = normalize("NFKD", column.replace("ß", "ss")).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", letters).strip("_-") or "column"
    return f"column_{name}" if name[0].isdigit() or name in MODULE_ATTRIBUTES else name


def _make_unique(name: str, names: Container[str]) -> str:
    candidates = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(candidate for candidate in candidates if candidate not in names)


def _merge(first: Modality, second: Modality) -> Modality:
    reasons = dict.fromkeys([*first.reason.split(" and "), second.reason])
    return Modality("tabular", [*first.columns, *second.columns], " and ".join(reasons))


def _check_kinds(kinds: Mapping[str, str], modalities: Mapping[str, Modality]) -> None:
    for modality, kind in kinds.items():
        if modality not in modalities:
            raise ConfigError(
                f"dataset.kinds.{modality}: there is no such modality (there are {', '.join(modalities)})"
            )
        if kind not in KINDS:
            raise ConfigError(f"dataset.kinds.{modality}: '{kind}' is not a kind; choose one of {', '.join(KINDS)}")
        if kind != "tabular" and len(modalities[modality].columns) > 1:
            raise ConfigError(
                f"dataset.columns.{modality}: several columns can only be tabular, not {kind}; name a single one"
            )


def _build_modality(modality: str, columns: list[str], sheet: Sheet, kind: str | None) -> Modality:
    """Return a modality; its kind is inferred unless it is set."""
    if kind is not None:
        return Modality(kind, columns, "dataset.kinds")
    if len(columns) > 1:
        return Modality("tabular", columns, "several columns")
    reading = sheet.readings.get(columns[0])
    if reading is not None and reading.kind:
        return Modality("text" if reading.kind == "text" else "tabular", columns, _name_reading(reading))
    if modality in KINDS and modality != "points":  # which may be the numbers of a game
        return Modality(modality, columns, "modality name")
    cells = sheet.columns[columns[0]].head(SAMPLE_ROWS).drop_empty()
    if len(cells) == 0:
        raise DataError(
            f"{sheet.name}: column '{columns[0]}' is empty in the first {SAMPLE_ROWS} rows; "
            f"set its kind with dataset.kinds.{modality}=KIND, or leave it out of dataset.columns"
        )
    kind, reason = infer_kind(cells, columns[0])
    return Modality(kind, columns, reason)


def _name_reading(reading: Reading) -> str:
    """Return the reason for the kind of a column that is not taken as it is written."""
    return "dataset.read" if reading.kind in ("text", "category") and not reading.format else f"{reading.kind}s"


def infer_kind(cells: Sequence[object], name: str) -> tuple[str, str]:
    """Infer the kind of a column.

    Args:
        cells: those that are not empty, at least one.
        name: of the column.

    Returns:
        One of KINDS, and the reason.
    """
    if parse_numbers(cells) is not None:  # first, as it is the quickest and a wide table has mostly numbers
        return "tabular", "numbers"
    contents = [split_items(cell) for cell in cells]  # once: the text of a list may be long
    items = list(chain.from_iterable(contents))
    if all(isinstance(item, bytes) for item in items):
        return _infer_content(items, name)
    if POINT_CLOUD_NAMES.search(name) and np.mean(list(map(_may_name_points, contents))) >= MIN_FILE_NAMES:
        return "points", "column name"
    for kind in (*SUFFIXES, "text"):
        if np.mean([_names_files(names, kind) for names in contents]) >= MIN_FILE_NAMES:
            return kind, "file names"
    if np.mean(list(map(_names_any_files, contents))) >= MIN_FILE_NAMES:
        return _choose_among_kinds(contents, name)
    if all(_is_list(cell) for cell in cells):
        return "series", "lists of numbers"
    if _are_series(cells):
        return "series", "numbers in a row"
    if len(set(map(str, cells))) <= min(MAX_CATEGORIES, len(cells) // 2):
        return "tabular", "categories"
    return "text", "words"


def _choose_among_kinds(contents: Sequence[Sequence[object]], name: str) -> tuple[str, str]:
    """Return the kind of a column that names files of several: videos, where the others are animations."""
    numbers = {kind: sum(_names_files(names, kind) for names in contents) for kind in SUFFIXES}
    named = {kind: number for kind, number in numbers.items() if number > 0}
    pictures = [item for names in contents if _names_files(names, "image") for item in names]
    if named.keys() == {"image", "video"} and all(str(item).lower().endswith(".gif") for item in pictures):
        return "video", "file names"
    listed = ", ".join(f"{kind} ({number:,})" for kind, number in named.items())
    usual = max(named, key=lambda kind: named[kind])
    raise DataError(
        f"column '{name}' names files of several kinds: {listed}; dataset.kinds.{name}={usual} dataset.on_error=skip "
        "leaves out the rows of others, dataset.columns the whole column"
    )


def _infer_content(cells: Sequence[object], name: str) -> tuple[str, str]:
    kinds = {infer_content(cell) for cell in cells if isinstance(cell, bytes)}
    kind = kinds.pop()
    if kinds or kind is None:
        raise DataError(
            f"column '{name}' holds binary data that are neither pictures, sounds nor videos; leave it out of "
            "dataset.columns"
        )
    return kind, "bytes"


def _are_series(cells: Sequence[object]) -> bool:
    """Return whether cells are several numbers each, some of them not whole or many: "1,2,3" may be a list of names."""
    lengths = []
    for cell in cells:
        numbers = parse_series(cell) if isinstance(cell, str) else None
        if numbers is None:
            return False
        lengths.append(len(numbers))
    usual = sorted(lengths)[len(lengths) // 2]
    return usual >= MIN_SERIES and (usual >= MIN_WHOLE_SERIES or any("." in str(cell) for cell in cells))


def _names_files(items: Sequence[object], kind: str) -> bool:
    """Return whether the items of a cell are names of files of a kind, be they of a format that is read or not."""
    return all(isinstance(name, str) and _has_kind(name, kind) for name in items)


def _names_any_files(items: Sequence[object]) -> bool:
    return any(_names_files(items, kind) for kind in SUFFIXES)


def _may_name_points(items: Sequence[object]) -> bool:
    """Return whether the items of a cell are names of files that may hold points: arrays, or files of points."""
    return _names_files(items, "points") or str(items[-1]).lower().endswith(".npy")


def _has_kind(name: str, kind: str) -> bool:
    if PurePosixPath(name).suffix.lower() in SUFFIXES.get(kind, ()):
        return True
    unreadable = find_unreadable(name)
    return unreadable is not None and unreadable.kind == kind


def _contains_float(cell: object) -> bool:
    return isinstance(cell, list) and any(isinstance(item, float) for item in cell)


def _is_list(cell: object) -> bool:
    """Return whether a cell is a list, or text that looks like one."""
    return isinstance(cell, list) or (isinstance(cell, str) and cell[0] == "[" and cell[-1] == "]")
