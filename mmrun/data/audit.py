"""What a data set holds, and what is suspicious about it, before anything is trained on it."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.data.packed import Records
from mmrun.data.preprocess.audio import read_sound
from mmrun.data.preprocess.image import open_image
from mmrun.data.preprocess.series import read_series
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.preprocess.text import read_text
from mmrun.data.split import known
from mmrun.data.table import SPLITS, Column, Table, Target
from mmrun.errors import DataError

FEW = 10  # rows of a split that say little
PART = 1 << 19  # bytes at either end of a large file that tell it from others


@dataclass(frozen=True)
class Audit:
    """All of it is plain values: it is printed, or written as JSON."""

    rows: dict[str, int]  # by split
    modalities: dict[str, dict[str, Any]]  # kind, missing (share of the rows), and what was seen of its kind
    targets: dict[str, dict[str, Any]]  # task, hidden (training rows without one), and classes or numbers by split
    bad: list[str]  # rows that cannot be used: "file:row: reason"
    warnings: list[str]


def audit(table: Table, num_looked_at: int | None = 1000) -> Audit:
    """Look at the whole table, and into the files of `num_looked_at` rows of each modality (None: all)."""
    bad = list(table.skipped)
    warnings: list[str] = []
    modalities = {}
    for name, column in table.columns.items():
        rows = np.flatnonzero(column.present())
        missing = 1 - len(rows) / len(column.values)
        if num_looked_at is not None and len(rows) > num_looked_at:
            rows = np.sort(np.random.default_rng(0).choice(rows, num_looked_at, replace=False))
        seen, unreadable = LOOK[column.kind](table, name, column, rows, warnings)
        bad += unreadable
        modalities[name] = {"kind": column.kind, "missing": missing, "looked_at": len(rows), **seen}
        if missing > 0.5:
            warnings.append(f"{name}: missing in {missing:.0%} of the rows")
        _warn_of_leaks(table, name, column, warnings)
    counts = {split: len(table.rows(split)) for split in SPLITS}
    for split, count in counts.items():
        if count < FEW:
            warnings.append(f"{split}: {count} rows{'; a run refuses an empty split' if count == 0 else ' say little'}")
    targets = {name: _target(table, name, target, warnings) for name, target in table.targets.items()}
    return Audit(counts, modalities, targets, bad, warnings)


# ----------------------------------------------------------------------------------------------------------- modalities

Seen = tuple[dict[str, Any], list[str]]  # by word, and the rows that cannot be read


def _each(column: Column, rows: np.ndarray, read: Callable[[Any], Any]) -> tuple[list[Any], list[str]]:
    """Read the given rows by threads; give what was read, and what could not be."""

    def attempt(row: int) -> Any:
        try:
            return read(column.values[row])
        except DataError as error:
            return DataError(f"{column.place(row)}: {error}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(attempt, rows.tolist()))
    good = [result for result in results if not isinstance(result, DataError)]
    return good, [str(result) for result in results if isinstance(result, DataError)]


def _image(table: Table, name: str, column: Column, rows: np.ndarray, warnings: list[str]) -> Seen:
    def read(value: Any) -> tuple[int, int, str]:
        image = open_image(value)
        return (*image.size, image.mode)

    seen, bad = _each(column, rows, read)
    modes = Counter(mode for *_, mode in seen)
    return {
        "width": _range([w for w, _, _ in seen]),
        "height": _range([h for _, h, _ in seen]),
        "modes": dict(modes),
    }, bad


def _audio(table: Table, name: str, column: Column, rows: np.ndarray, warnings: list[str]) -> Seen:
    def read(value: Any) -> tuple[float, int, bool]:
        samples, rate = read_sound(value) if isinstance(value, Path) else value
        return len(samples) / rate, rate, not samples.any()

    seen, bad = _each(column, rows, read)
    silent = sum(is_silent for *_, is_silent in seen)
    if silent:
        warnings.append(f"{name}: {silent} of {len(seen)} sounds are silent")
    rates = Counter(rate for _, rate, _ in seen)
    return {"seconds": _range([length for length, _, _ in seen]), "rates": dict(rates)}, bad


def _text(table: Table, name: str, column: Column, rows: np.ndarray, warnings: list[str]) -> Seen:
    seen, bad = _each(column, rows, read_text)
    return {"words": _range([len(text.split()) for text in seen]), "different": len(set(seen))}, bad


def _series(table: Table, name: str, column: Column, rows: np.ndarray, warnings: list[str]) -> Seen:
    seen, bad = _each(column, rows, lambda value: read_series(value).shape)
    channels = Counter(shape[0] for shape in seen)
    if len(channels) > 1:
        warnings.append(
            f"{name}: series of {', '.join(map(str, sorted(channels)))} channels; a run refuses all but one"
        )
    return {"channels": dict(channels), "steps": _range([shape[1] for shape in seen])}, bad


def _tabular(table: Table, name: str, column: Column, rows: np.ndarray, warnings: list[str]) -> Seen:
    cells, records = Cells(), Records.of(column.values)
    cells.fit(column, table.rows("train"))
    bad = []
    for row, record in enumerate(records):
        try:
            if record is not None:
                cells.decode(record)
        except DataError as error:
            bad.append(f"{column.place(row)}: {error}")
    in_train = table.split == "train"
    number = (in_train & column.present()).sum()
    for one in [*cells.numeric, *cells.categories]:
        known = (str(cell) for cell in compress(records.columns[one], in_train) if cell is not None)
        first, words = next(known, None), len(cells.categories.get(one, ()))
        if all(other == first for other in known):
            warnings.append(f"{name}: column '{one}' is the same in all training rows")
        elif words > max(20, number // 2):
            warnings.append(f"{name}: column '{one}' has {words} words in {number} rows: a name, no category?")
    return {"numeric": list(cells.numeric), "categories": {n: len(words) for n, words in cells.categories.items()}}, bad


LOOK: dict[str, Callable[[Table, str, Column, np.ndarray, list[str]], Seen]] = {
    "image": _image,
    "audio": _audio,
    "text": _text,
    "series": _series,
    "tabular": _tabular,
}


def _range(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"least": min(values), "median": float(np.median(values)), "most": max(values)}


# ---------------------------------------------------------------------------------------------------------------- leaks


def _warn_of_leaks(table: Table, name: str, column: Column, warnings: list[str]) -> None:
    """Warn of evaluation rows whose file or text also occurs in training, unless duplicates are common by nature."""
    in_files = column.from_files
    if not in_files and column.kind != "text":
        return
    content = _contents(column.values)
    in_training = {content[row] for row in table.rows("train")} - {None}
    by_nature = not in_files and len(in_training) < len(table.rows("train")) / 2
    for split in ("val", "test"):
        known_before = [row for row in table.rows(split) if content[row] in in_training]
        if known_before and not by_nature:
            first = column.place(known_before[0])
            warnings.append(
                f"{name}: {len(known_before)} rows of {split} are training rows as well; the first is {first}"
            )


def _contents(values: Sequence[Any]) -> list[str | None]:
    """Return a digest of each value; only files of equal size are read, and of large files both ends alone."""
    sizes = Counter(os.stat(path).st_size for path in {value for value in values if isinstance(value, Path)})
    digests: dict[Path, str] = {}
    for path in {value for value in values if isinstance(value, Path)}:
        size = os.stat(path).st_size
        digests[path] = str(path)
        if sizes[size] > 1:
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read(PART))
                file.seek(max(PART, size - PART))
                digest.update(file.read())
            digests[path] = f"{size} {digest.hexdigest()}"
    return [digests[value] if isinstance(value, Path) else value for value in values]


# -------------------------------------------------------------------------------------------------------------- targets


def _target(table: Table, name: str, target: Target, warnings: list[str]) -> dict[str, Any]:
    is_known = known(target)
    rows = {split: table.rows(split)[is_known[table.rows(split)]] for split in SPLITS}
    hidden = int((~is_known[table.rows("train")]).sum())
    said: dict[str, Any] = {"task": target.task, "hidden": hidden}
    if target.task == "regression":
        numbers = target.values.reshape(len(target.values), -1)
        return {**said, "numbers": {split: _range(numbers[rows[split]].ravel().tolist()) for split in SPLITS}}
    counts = {split: _count(target, rows[split]) for split in SPLITS}
    for number, label in enumerate(target.names):
        if counts["train"][number] == 0:
            warnings.append(f"{name}: no training row is '{label}'")
    return {**said, "counts": {split: dict(zip(target.names, counts[split], strict=True)) for split in SPLITS}}


def _count(target: Target, rows: np.ndarray) -> list[int]:
    if target.task == "multilabel":
        return [int(count) for count in target.values[rows].sum(axis=0)]
    return np.bincount(target.values[rows], minlength=len(target.names)).tolist()
