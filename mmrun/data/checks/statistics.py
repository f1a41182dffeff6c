"""Summarises a data set: its rows, targets and modalities by split, as histograms, frequencies and correlations."""

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mmrun.data.items import list_items
from mmrun.data.names import shorten
from mmrun.data.packed import PackedValues, Records
from mmrun.data.preprocess.audio import measure_duration
from mmrun.data.preprocess.image_files import read_header
from mmrun.data.preprocess.point_files import read_cloud
from mmrun.data.preprocess.series import choose_layout
from mmrun.data.preprocess.series_files import read_series
from mmrun.data.preprocess.text import read_text
from mmrun.data.preprocess.video_files import read_video_header
from mmrun.data.sheets.numbers import parse_numbers
from mmrun.data.split import has_target
from mmrun.data.table import SPLITS, Column, Table, Target
from mmrun.errors import DataError

MAX_ROWS = 100_000  # of which cells and texts are summarised; a data set with more is sampled
MAX_FILES = 2_000  # opened per modality
MIN_BINS, MAX_BINS = 5, 30
MAX_VALUES = 20  # of a list of frequencies, the most frequent ones
MAX_COLUMNS = 40  # of a table, that are summarised
MAX_CORRELATED = 20  # columns
MIN_LETTERS = 3  # of a word that is counted
MAX_LETTERS = 100_000  # of a text, in which words are counted
WORD = re.compile(rf"[^\W\d_]{{{MIN_LETTERS},}}")
ENCODED_DATE = re.compile(r"\.(month|weekday|hour)_(sin|cos)$")  # what encoders read of dates, beside the year

T = TypeVar("T")


@dataclass(frozen=True)
class Distribution:
    """Numbers, in their own unit.

    Attributes:
        least: the smallest number.
        median: of all splits together.
        most: the largest number.
        missing: rows without a number.
        edges: of the bins [B + 1].
        counts: rows in each bin [B] by split.
    """

    least: float
    median: float
    most: float
    missing: int
    edges: list[float]
    counts: dict[str, list[int]]


@dataclass(frozen=True)
class Frequencies:
    """Values and how often they occur.

    Attributes:
        num_different: values.
        counts: by value, most frequent first, at most MAX_VALUES of them; then by split.
    """

    num_different: int
    counts: dict[str, dict[str, int]]


@dataclass(frozen=True)
class ModalityStatistics:
    """What is in a modality.

    Attributes:
        kind: of the modality.
        missing: rows without a value by split, of all rows.
        num_read: rows that the rest is about.
        distributions: by what was measured: "seconds", "words", a column of a table.
        frequencies: likewise.
        unreadable: rows that could not be read, "file:row", with the reason.
        notes: what was left out, one line each.
    """

    kind: str
    missing: dict[str, int]
    num_read: int
    distributions: dict[str, Distribution] = field(default_factory=dict)
    frequencies: dict[str, Frequencies] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TargetStatistics:
    """What is in a target; one of the last two is None.

    Attributes:
        task: of the target.
        hidden: rows without a target by split.
        frequencies: of the classes or labels, of all rows.
        distribution: of the numbers, of all rows.
    """

    task: str
    hidden: dict[str, int]
    frequencies: Frequencies | None
    distribution: Distribution | None


@dataclass(frozen=True)
class Correlations:
    """Pearson correlations between columns of numbers.

    Attributes:
        names: of the columns.
        values: [columns][columns], over the rows that have both numbers; 0 where a column is constant there.
    """

    names: list[str]
    values: list[list[float]]


@dataclass(frozen=True)
class Statistics:
    """A summary of a data set, as JSON values.

    Attributes:
        rows: number by split.
        targets: by name.
        modalities: by name.
        correlations: None: there are fewer than two columns of numbers.
        notes: what was sampled or left out, one line each.
    """

    rows: dict[str, int]
    targets: dict[str, TargetStatistics]
    modalities: dict[str, ModalityStatistics]
    correlations: Correlations | None
    notes: list[str]


def summarize(table: Table, seed: int = 0) -> Statistics:
    """Summarise a data set.

    Args:
        table: the data set. Rows, targets and missing modalities are counted in all its rows.
        seed: of the rows that are drawn where there are many.
    """
    rng = np.random.default_rng(seed)
    sample, notes = table, list(table.notes)
    if len(table.ids) > MAX_ROWS:
        sample = take_rows(table, np.sort(rng.choice(len(table.ids), MAX_ROWS, replace=False)))
        notes.insert(0, f"cells and texts are those of {MAX_ROWS:,} of {len(table.ids):,} rows, drawn at random")
    modalities = {}
    for name, column in sample.columns.items():
        is_missing = ~table.columns[name].is_present()
        missing = {split: int((is_missing & (table.split == split)).sum()) for split in SPLITS}
        modalities[name] = _summarize_modality(column, sample.split, missing, rng)
        for note in modalities[name].notes:
            notes.append(f"{name}: {note}")
    targets = {name: _summarize_target(target, table.split) for name, target in table.targets.items()}
    rows = {split: len(table.rows(split)) for split in SPLITS}
    return Statistics(rows, targets, modalities, _correlate(sample), notes)


def take_rows(table: Table, rows: np.ndarray) -> Table:
    """Return some rows of a data set.

    Args:
        table: the data set.
        rows: their numbers [n], ascending and unique.
    """
    columns = {}
    for name, column in table.columns.items():
        locations = [column.locate(row) for row in rows.tolist()]
        columns[name] = replace(column, values=_take(column.values, rows), locations=locations)
    targets = {name: replace(target, values=target.values[rows]) for name, target in table.targets.items()}
    ids = [table.ids[row] for row in rows.tolist()]
    groups = None if table.groups is None else table.groups[rows]
    return replace(table, ids=ids, columns=columns, targets=targets, split=table.split[rows], groups=groups)


def _take(values: Sequence[Any], rows: np.ndarray) -> Sequence[Any]:
    return values.take(rows) if isinstance(values, PackedValues | Records) else [values[row] for row in rows.tolist()]


# ----------------------------------------------------------------------------------------------------------- summaries


def _describe_numbers(numbers: np.ndarray, split: np.ndarray, missing: int = 0) -> Distribution | None:
    """Return the distribution of numbers by split; None if there is none.

    Args:
        numbers: [n], NaN where missing.
        split: of each [n] str.
        missing: rows that are missing besides.
    """
    is_number = np.isfinite(numbers)
    shown, of_shown = numbers[is_number], split[is_number]
    if len(shown) == 0:
        return None
    low, high = float(shown.min()), float(shown.max())
    edges = _make_edges(shown, low, high)
    counts = {name: np.histogram(shown[of_shown == name], edges)[0].tolist() for name in SPLITS}
    num_missing = missing + int((~is_number).sum())
    return Distribution(low, float(np.median(shown)), high, num_missing, edges.tolist(), counts)


def _make_edges(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the edges of the bins: one for each number where few whole ones occur, else MAX_BINS or fewer."""
    if np.equal(np.mod(numbers, 1), 0).all() and high - low < MAX_BINS:
        return np.arange(low, high + 2) - 0.5
    span = high - low
    if not np.isfinite(span) or low + span / MAX_BINS == low:  # beyond the range or the precision of numbers
        return np.array([low, np.nextafter(high, np.inf)])
    num_bins = min(MAX_BINS, max(MIN_BINS, math.ceil(math.sqrt(len(numbers)))))
    return np.linspace(low, high, num_bins + 1)


def _count_values(values: Iterable[str], split: np.ndarray) -> Frequencies:
    """Count values by split, one for each row."""
    by_split: dict[str, Counter[str]] = {name: Counter() for name in SPLITS}
    for value, name in zip(values, split.tolist(), strict=True):
        by_split[name][value] += 1
    return _rank_values(by_split)


def _rank_values(by_split: Mapping[str, Counter[str]]) -> Frequencies:
    total: Counter[str] = Counter()
    for counter in by_split.values():
        total.update(counter)
    counts: dict[str, dict[str, int]] = {}
    for value, _ in total.most_common(MAX_VALUES):
        of_name = counts.setdefault(shorten(value), dict.fromkeys(by_split, 0))  # two long values may begin alike
        for name, counter in by_split.items():
            of_name[name] += counter[value]
    return Frequencies(len(total), counts)


def _summarize_target(target: Target, split: np.ndarray) -> TargetStatistics:
    values = target.values
    is_hidden: np.ndarray = ~has_target(target)
    if target.task == "regression":
        numbers = values.reshape(len(values), -1).astype(np.float64)
        distribution = _describe_numbers(numbers[:, 0], split)
        return TargetStatistics(target.task, _count_by_split(is_hidden, split), None, distribution)
    is_multilabel = target.task == "multilabel"
    by_split: dict[str, Counter[str]] = {}
    for name in SPLITS:
        of_split = values[(split == name) & ~is_hidden]
        counts = (of_split == 1).sum(axis=0) if is_multilabel else np.bincount(of_split, minlength=len(target.names))
        by_split[name] = Counter(dict(zip(target.names, counts.tolist(), strict=True)))
    return TargetStatistics(target.task, _count_by_split(is_hidden, split), _rank_values(by_split), None)


def _count_by_split(is_counted: np.ndarray, split: np.ndarray) -> dict[str, int]:
    return {name: int((is_counted & (split == name)).sum()) for name in SPLITS}


# ---------------------------------------------------------------------------------------------------------- modalities


def _summarize_modality(
    column: Column, split: np.ndarray, missing: dict[str, int], rng: np.random.Generator
) -> ModalityStatistics:
    rows = np.flatnonzero(column.is_present())
    notes = []
    if column.from_files and len(rows) > MAX_FILES:
        notes.append(f"{MAX_FILES:,} of {len(rows):,} files are opened, drawn at random")
        rows = np.sort(rng.choice(rows, MAX_FILES, replace=False))
    statistics = ModalityStatistics(column.kind, missing, len(rows), notes=notes)
    if column.kind == "tabular":
        _summarize_cells(statistics, column, split)
    else:
        SUMMARIES[column.kind](statistics, column, split, rows)
    return statistics


def _read_rows(
    statistics: ModalityStatistics, column: Column, rows: np.ndarray, read: Callable[[Any], T]
) -> tuple[list[T], np.ndarray]:
    """Read rows in threads; return what could be read, and the numbers of these rows [n]."""

    def try_read(row: int) -> T | DataError:
        try:
            return read(list_items(column.values[row])[0])  # of several files in a cell, the first one
        except DataError as error:
            return error

    values: list[T] = []
    readable = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, result in zip(rows.tolist(), pool.map(try_read, rows.tolist()), strict=True):
            if isinstance(result, DataError):
                statistics.unreadable[column.locate(row)] = str(result)
            else:
                values.append(result)
                readable.append(row)
    return values, np.array(readable, dtype=np.int64)


def _add_numbers(statistics: ModalityStatistics, name: str, numbers: Sequence[float], split: np.ndarray) -> None:
    distribution = _describe_numbers(np.array(numbers, dtype=np.float64), split)
    if distribution is not None:
        statistics.distributions[name] = distribution


def _summarize_images(statistics: ModalityStatistics, column: Column, split: np.ndarray, rows: np.ndarray) -> None:
    headers, readable = _read_rows(statistics, column, rows, read_header)
    _add_numbers(statistics, "width (pixels)", [header.width for header in headers], split[readable])
    _add_numbers(statistics, "height (pixels)", [header.height for header in headers], split[readable])
    statistics.frequencies["mode"] = _count_values([header.mode for header in headers], split[readable])


def _summarize_videos(statistics: ModalityStatistics, column: Column, split: np.ndarray, rows: np.ndarray) -> None:
    headers, readable = _read_rows(statistics, column, rows, read_video_header)
    _add_numbers(statistics, "width (pixels)", [header.width for header in headers], split[readable])
    _add_numbers(statistics, "height (pixels)", [header.height for header in headers], split[readable])
    _add_numbers(statistics, "length (frames)", [header.num_frames for header in headers], split[readable])
    timed = [place for place, header in enumerate(headers) if header.seconds is not None]
    seconds = [header.seconds for header in headers if header.seconds is not None]
    _add_numbers(statistics, "length (seconds)", seconds, split[readable[timed]])
    statistics.frequencies["codec"] = _count_values([header.codec or "none" for header in headers], split[readable])


def _summarize_sounds(statistics: ModalityStatistics, column: Column, split: np.ndarray, rows: np.ndarray) -> None:
    seconds, readable = _read_rows(statistics, column, rows, measure_duration)
    _add_numbers(statistics, "length (seconds)", seconds, split[readable])


def _summarize_texts(statistics: ModalityStatistics, column: Column, split: np.ndarray, rows: np.ndarray) -> None:
    def read(value: str | Path) -> tuple[int, Counter[str]]:
        text = read_text(value)
        return len(text.split()), Counter(WORD.findall(text[:MAX_LETTERS].lower()))

    texts, readable = _read_rows(statistics, column, rows, read)
    _add_numbers(statistics, "length (words)", [num_words for num_words, _ in texts], split[readable])
    by_split: dict[str, Counter[str]] = {name: Counter() for name in SPLITS}
    for (_, words), name in zip(texts, split[readable].tolist(), strict=True):
        by_split[name].update(words)
    statistics.frequencies[f"words of {MIN_LETTERS} letters or more"] = _rank_values(by_split)


def _summarize_series(statistics: ModalityStatistics, column: Column, split: np.ndarray, rows: np.ndarray) -> None:
    layout = choose_layout(column, rows).layout

    def read(value: object) -> tuple[int, int]:
        num_channels, num_steps = read_series(value, layout).shape
        return num_channels, num_steps

    shapes, readable = _read_rows(statistics, column, rows, read)
    _add_numbers(statistics, "length (steps)", [num_steps for _, num_steps in shapes], split[readable])
    statistics.frequencies["channels"] = _count_values([str(channels) for channels, _ in shapes], split[readable])


def _summarize_points(statistics: ModalityStatistics, column: Column, split: np.ndarray, rows: np.ndarray) -> None:
    clouds, readable = _read_rows(statistics, column, rows, _measure_cloud)
    _add_numbers(statistics, "number of points", [num_points for num_points, _ in clouds], split[readable])
    statistics.frequencies["columns"] = _count_values([columns for _, columns in clouds], split[readable])


def _measure_cloud(value: Any) -> tuple[int, str]:
    cloud = read_cloud(value)
    return len(cloud.points), ", ".join(cloud.names)


SUMMARIES: dict[str, Callable[[ModalityStatistics, Column, np.ndarray, np.ndarray], None]] = {
    "image": _summarize_images,
    "audio": _summarize_sounds,
    "text": _summarize_texts,
    "series": _summarize_series,
    "points": _summarize_points,
    "video": _summarize_videos,
}


def _summarize_cells(statistics: ModalityStatistics, column: Column, split: np.ndarray) -> None:
    """Summarise the columns of a table: numbers as a distribution, all others as frequencies."""
    columns = {
        name: cells for name, cells in Records.from_rows(column.values).columns.items() if not encodes_date(name)
    }
    if len(columns) > MAX_COLUMNS:
        statistics.notes.append(f"the first {MAX_COLUMNS} of {len(columns)} columns are shown")
    for name, cells in list(columns.items())[:MAX_COLUMNS]:
        numbers = None if name in column.categorical else parse_numbers(cells)
        distribution = None if numbers is None else _describe_numbers(numbers, split)
        if distribution is not None:
            statistics.distributions[name] = distribution
        else:
            statistics.frequencies[name] = _count_values(["" if cell is None else str(cell) for cell in cells], split)


def encodes_date(name: str) -> bool:
    """Return whether a column is one that encoders read of a date beside its year, and people do not.

    Args:
        name: of the column.
    """
    return ENCODED_DATE.search(name) is not None


def _correlate(table: Table) -> Correlations | None:
    """Return the correlations between the columns of numbers of all tables, and the targets that are numbers."""
    numbers: dict[str, np.ndarray] = {}
    for name, target in table.targets.items():
        if target.task == "regression" and target.values.ndim == 1:
            numbers[name] = target.values.astype(np.float64)
    for column in table.columns.values():
        if column.kind == "tabular":
            for name, cells in Records.from_rows(column.values).columns.items():
                parsed = None if name in column.categorical or encodes_date(name) else parse_numbers(cells)
                if parsed is not None and len(numbers) < MAX_CORRELATED:
                    numbers[name] = parsed
    if len(numbers) < 2:
        return None
    values = [[_correlate_pair(first, second) for second in numbers.values()] for first in numbers.values()]
    return Correlations(list(numbers), values)


def _correlate_pair(first: np.ndarray, second: np.ndarray) -> float:
    has_both = np.isfinite(first) & np.isfinite(second)
    if has_both.sum() < 2:
        return 0.0
    first, second = _center(first[has_both]), _center(second[has_both])
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale > 0 else 0.0


def _center(numbers: np.ndarray) -> np.ndarray:
    """Return numbers around 0, whose squares do not overflow."""
    scaled = numbers / max(float(np.abs(numbers).max()), np.finfo(np.float64).tiny)
    centered: np.ndarray = scaled - scaled.mean()
    return centered
