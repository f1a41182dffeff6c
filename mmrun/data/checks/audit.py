"""Audits a data set before training: what it holds, which rows cannot be used, and what is suspicious."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, TypeVar

import numpy as np

from mmrun.data.checks.giveaways import find_giveaways
from mmrun.data.names import normalize_name
from mmrun.data.packed import PackedValues, Records
from mmrun.data.preprocess.audio import read_audio
from mmrun.data.preprocess.image_files import describe_decoded
from mmrun.data.preprocess.series import read_series
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.preprocess.text import read_text
from mmrun.data.split import has_target
from mmrun.data.subfiles import open_file, stat_file
from mmrun.data.table import SPLITS, Column, Table, Target
from mmrun.errors import DataError

MIN_ROWS = 10  # of a split; metrics of fewer are unreliable
MIN_DISTINCT = {"tabular": 0.9}  # share of training rows that differ, from which equal rows are suspicious; else 0.5
PART_SIZE = 1 << 19  # bytes at either end of a large file by which it is compared with others

T = TypeVar("T")


class Range(TypedDict):
    """Smallest, median and largest value."""

    least: float
    median: float
    most: float


class ModalityAudit(TypedDict, total=False):
    """What was seen of a modality; all but the first three keys depend on its kind.

    `missing` is a share of the rows, `looked_at` the number of rows that were decoded; `columns` and `told_by`, the
    reason for the kind, are added by `mmrun data check`. Counters map a value to its number of rows.
    """

    kind: str
    missing: float
    looked_at: int
    width: Range | None  # image, pixels
    height: Range | None
    modes: dict[str, int]
    seconds: Range | None  # audio
    rates: dict[int, int]  # Hz
    words: Range | None  # text
    different: int
    channels: dict[int, int]  # series
    steps: Range | None
    numeric: list[str]  # tabular: names of columns
    categories: dict[str, int]  # number of categories by column
    columns: list[str]
    told_by: str


class TargetAudit(TypedDict, total=False):
    """What was seen of a target: `numbers` of a regression or else `counts`, by split.

    `hidden` is the number of training rows without a target; `counts` are rows by class or label.
    """

    task: str
    hidden: int
    numbers: dict[str, Range | None]
    counts: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Audit:
    """The result of an audit, as JSON values.

    Attributes:
        rows: number by split.
        modalities: what was seen, by modality.
        targets: what was seen, by target.
        bad: rows that cannot be used: "file:row: reason".
        warnings: one line each.
        notes: what was inferred and why, and what encoders are shown of the rows; one line each.
    """

    rows: dict[str, int]
    modalities: dict[str, ModalityAudit]
    targets: dict[str, TargetAudit]
    bad: list[str]
    warnings: list[str]
    notes: list[str]


def audit(table: Table, sample_size: int | None = 1000) -> Audit:
    """Audit a data set.

    Args:
        table: the data set; all its cells are checked.
        sample_size: number of rows of each modality whose files are decoded; None: all.
    """
    bad = list(table.skipped)
    warnings = list(table.warnings)
    modalities = {}
    for name, column in table.columns.items():
        modalities[name], unreadable = _audit_modality(table, name, column, sample_size, warnings)
        bad += unreadable
        _warn_of_leaks(table, name, column, warnings)
    warnings += find_giveaways(table)
    counts = {split: len(table.rows(split)) for split in SPLITS}
    for split, count in counts.items():
        if count == 0:
            warnings.append(f"{split}: 0 rows; a run needs at least one")
        elif count < MIN_ROWS:
            warnings.append(f"{split}: {count} rows are too few for reliable metrics")
    targets = {name: _audit_target(table, name, target, warnings) for name, target in table.targets.items()}
    return Audit(counts, modalities, targets, bad, warnings, table.notes)


# ----------------------------------------------------------------------------------------------------------- modalities


class Context(NamedTuple):
    """What the audit of a modality reads, and the list that it adds warnings to.

    Attributes:
        table: the data set.
        name: of the modality.
        column: its raw values.
        rows: numbers of the rows to decode [n].
        warnings: of the audit.
    """

    table: Table
    name: str
    column: Column
    rows: np.ndarray
    warnings: list[str]


Result = tuple[ModalityAudit, list[str]]  # and the rows that cannot be read: "file:row: reason"


def _audit_modality(table: Table, name: str, column: Column, sample_size: int | None, warnings: list[str]) -> Result:
    rows = np.flatnonzero(column.is_present())
    missing = 1 - len(rows) / len(column.values)
    if sample_size is not None and len(rows) > sample_size:
        rows = np.sort(np.random.default_rng(0).choice(rows, sample_size, replace=False))
    result, unreadable = AUDITS[column.kind](Context(table, name, column, rows, warnings))
    if missing > 0.5:
        warnings.append(f"{name}: missing in {missing:.0%} of the rows")
    return {"kind": column.kind, "missing": missing, "looked_at": len(rows), **result}, unreadable


def _read_rows(context: Context, read: Callable[[Any], T]) -> tuple[list[T], list[str]]:
    """Read the rows in threads; return what could be read, and the reasons for the others."""
    column = context.column

    def try_read(row: int) -> T | DataError:
        try:
            return read(column.values[row])
        except DataError as error:
            return DataError(f"{column.locate(row)}: {error}")

    values: list[T] = []
    unreadable = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(try_read, context.rows.tolist()):
            if isinstance(result, DataError):
                unreadable.append(str(result))
            else:
                values.append(result)
    return values, unreadable


def _audit_image(context: Context) -> Result:
    images, unreadable = _read_rows(context, describe_decoded)
    return {
        "width": _summarize([image.width for image in images]),
        "height": _summarize([image.height for image in images]),
        "modes": dict(Counter(image.mode for image in images)),
    }, unreadable


def _audit_audio(context: Context) -> Result:
    def read(value: Path | tuple[np.ndarray, int]) -> tuple[float, int, bool]:
        samples, rate = read_audio(value) if isinstance(value, Path) else value
        return len(samples) / rate, rate, not samples.any()

    recordings, unreadable = _read_rows(context, read)
    num_silent = sum(is_silent for _, _, is_silent in recordings)
    if num_silent:
        context.warnings.append(f"{context.name}: {num_silent} of {len(recordings)} recordings are silent")
    return {
        "seconds": _summarize([seconds for seconds, _, _ in recordings]),
        "rates": dict(Counter(rate for _, rate, _ in recordings)),
    }, unreadable


def _audit_text(context: Context) -> Result:
    texts, unreadable = _read_rows(context, read_text)
    return {"words": _summarize([len(text.split()) for text in texts]), "different": len(set(texts))}, unreadable


def _audit_series(context: Context) -> Result:
    def read(value: object) -> tuple[int, int]:
        num_channels, num_steps = read_series(value).shape
        return num_channels, num_steps

    shapes, unreadable = _read_rows(context, read)
    channels = Counter(num_channels for num_channels, _ in shapes)
    if len(channels) > 1:
        numbers = ", ".join(map(str, sorted(channels)))
        context.warnings.append(
            f"{context.name}: series with {numbers} channels; a run needs the same number in all rows"
        )
    return {"channels": dict(channels), "steps": _summarize([num_steps for _, num_steps in shapes])}, unreadable


def _audit_tabular(context: Context) -> Result:
    column = context.column
    cells, records = Cells(), Records.from_rows(column.values)
    cells.fit(column, context.table.rows("train"))
    unreadable = []
    for row, record in enumerate(records):
        try:
            if record is not None:
                cells.decode(record)
        except DataError as error:
            unreadable.append(f"{column.locate(row)}: {error}")
    is_training = context.table.split == "train"
    num_rows = int((is_training & column.is_present()).sum())
    categories = {name: len(set(numbers) - {""}) for name, numbers in cells.categories.items()}
    context.warnings.extend(f"{context.name}: {note}" for note in cells.notes)
    for name in [*cells.numeric, *categories]:
        num_categories = categories.get(name, 0)
        if _is_constant(records.columns[name], is_training):
            context.warnings.append(f"{context.name}: column '{name}' is the same in all training rows")
        elif num_categories > max(20, num_rows // 2):
            context.warnings.append(
                f"{context.name}: column '{name}' has {num_categories} categories in {num_rows} rows; "
                "is it an identifier?"
            )
    return {"numeric": list(cells.numeric), "categories": categories}, unreadable


def _is_constant(cells: PackedValues[object], is_training: np.ndarray) -> bool:
    """Return whether all training rows that have a cell have the same one."""
    texts = (str(cell) for cell in compress(cells, is_training) if cell is not None)
    first = next(texts, None)
    return all(text == first for text in texts)


AUDITS: dict[str, Callable[[Context], Result]] = {
    "image": _audit_image,
    "audio": _audit_audio,
    "text": _audit_text,
    "series": _audit_series,
    "tabular": _audit_tabular,
}


def _summarize(values: Sequence[float]) -> Range | None:
    if not values:
        return None
    return {"least": min(values), "median": float(np.median(values)), "most": max(values)}


# ---------------------------------------------------------------------------------------------------------------- leaks


def _warn_of_leaks(table: Table, name: str, column: Column, warnings: list[str]) -> None:
    """Warn of val and test rows that also occur in training.

    Texts and cells are exempt if many training rows share theirs with others: then repetition is in their nature.
    """
    contents = _digest_values(column)
    train = table.rows("train")
    in_training = {contents[row] for row in train} - {None}
    if not column.from_files and len(in_training) < MIN_DISTINCT.get(column.kind, 0.5) * len(train):
        return
    for split in ("val", "test"):
        leaked = [row for row in table.rows(split) if contents[row] in in_training]
        if leaked:
            first = column.locate(leaked[0])
            warnings.append(f"{name}: {len(leaked)} rows of {split} also occur in training; the first is {first}")


def _digest_values(column: Column) -> list[Hashable]:
    """Return a digest of each value, None where it is missing; equal content has equal digests."""
    paths = {value for value in column.values if isinstance(value, Path)}
    sizes = {path: stat_file(path).size for path in paths}
    num_files = Counter(sizes.values())
    digests: dict[Path, Hashable] = {}
    for path, size in sizes.items():
        digests[path] = _digest_file(path, size) if num_files[size] > 1 else str(path)  # of a unique size: not read
    return [digests[value] if isinstance(value, Path) else _digest_value(value) for value in column.values]


def _digest_value(value: object) -> Hashable:
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest()
    if isinstance(value, Mapping):
        return tuple(None if cell is None else normalize_name(cell) for cell in value.values())
    if isinstance(value, tuple):
        return tuple(map(_digest_value, value))
    return value if isinstance(value, Hashable) else repr(value)


def _digest_file(path: Path, size: int) -> str:
    """Hash the size and both ends of a file."""
    with open_file(path) as file:
        digest = hashlib.sha256(file.read(PART_SIZE))
        file.seek(max(PART_SIZE, size - PART_SIZE))
        digest.update(file.read())
    return f"{size} {digest.hexdigest()}"


# -------------------------------------------------------------------------------------------------------------- targets


def _audit_target(table: Table, name: str, target: Target, warnings: list[str]) -> TargetAudit:
    visible = has_target(target)
    rows = {}
    for split in SPLITS:
        split_rows = table.rows(split)
        rows[split] = split_rows[visible[split_rows]]
    num_hidden = len(table.rows("train")) - len(rows["train"])
    if target.task == "regression":
        numbers = target.values.reshape(len(target.values), -1)
        ranges = {split: _summarize(numbers[rows[split]].ravel().tolist()) for split in SPLITS}
        return {"task": target.task, "hidden": num_hidden, "numbers": ranges}
    counts = {split: _count_labels(target, rows[split]) for split in SPLITS}
    for label, count in counts["train"].items():
        if count == 0:
            warnings.append(f"{name}: no training row is '{label}'")
    return {"task": target.task, "hidden": num_hidden, "counts": counts}


def _count_labels(target: Target, rows: np.ndarray) -> dict[str, int]:
    """Return the number of rows by class or label."""
    if target.task == "multilabel":
        counts = target.values[rows].sum(axis=0)
    else:
        counts = np.bincount(target.values[rows], minlength=len(target.names))
    return {label: int(count) for label, count in zip(target.names, counts, strict=True)}
