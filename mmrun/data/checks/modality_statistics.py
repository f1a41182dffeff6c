"""Summarises a modality: what its values measure, as histograms, and what they are, as frequencies."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmrun.data.checks.distributions import Distribution, Frequencies, describe_numbers, rank_values
from mmrun.data.items import list_items
from mmrun.data.map_rows import map_rows
from mmrun.data.packed import Records
from mmrun.data.preprocess.audio import measure_duration
from mmrun.data.preprocess.image_files import read_header
from mmrun.data.preprocess.point_files import read_cloud
from mmrun.data.preprocess.series import choose_layout
from mmrun.data.preprocess.series_files import read_series
from mmrun.data.preprocess.text import read_text
from mmrun.data.preprocess.video_files import read_video_header
from mmrun.data.sheets.numbers import parse_numbers
from mmrun.data.table import SPLITS, Column, SeriesLayout
from mmrun.errors import DataError

MAX_FILES = 2_000  # opened per modality
MAX_COLUMNS = 40  # of a table, that are summarised
MIN_LETTERS = 3  # of a word that is counted
MAX_LETTERS = 100_000  # of a text, in which words are counted
WORD = re.compile(rf"[^\W\d_]{{{MIN_LETTERS},}}")
ENCODED_DATE = re.compile(r"\.(month|weekday|hour)_(sin|cos)$")  # what encoders read of dates, beside the year


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


def summarize_modality(
    column: Column, split: np.ndarray, missing: dict[str, int], rng: np.random.Generator
) -> ModalityStatistics:
    """Summarise the values of a modality.

    Args:
        column: raw values.
        split: of the rows.
        missing: rows without a value by split, of the whole data set.
        rng: draws the files that are opened.
    """
    rows = np.flatnonzero(column.is_present())
    notes = []
    if column.from_files and len(rows) > MAX_FILES:
        notes.append(f"{MAX_FILES:,} of {len(rows):,} files are opened, drawn at random")
        rows = np.sort(rng.choice(rows, MAX_FILES, replace=False))
    statistics = ModalityStatistics(column.kind, missing, len(rows), notes=notes)
    if column.kind == "tabular":
        _summarize_cells(statistics, column, split)
    else:
        _summarize_values(statistics, column, split, rows)
    return statistics


class Summary(NamedTuple):
    """How the values of a kind are summarised.

    Attributes:
        read: a raw value -> what is known of it.
        numbers: by name, what is known -> a number, None where there is none.
        words: by name, what is known -> what is counted.
    """

    read: Callable[..., Any]
    numbers: dict[str, Callable[[Any], float | None]]
    words: dict[str, Callable[[Any], Iterable[str]]]


def _count_text(value: str | Path) -> tuple[int, Counter[str]]:
    text = read_text(value)
    return len(text.split()), Counter(WORD.findall(text[:MAX_LETTERS].lower()))


def _measure_series(value: object, layout: SeriesLayout) -> tuple[int, ...]:
    return read_series(value, layout).shape


def _measure_cloud(value: Any) -> tuple[int, list[str]]:
    cloud = read_cloud(value)
    return len(cloud.points), [", ".join(cloud.names)]


SUMMARIES = {
    "image": Summary(
        read_header,
        {"width (pixels)": attrgetter("width"), "height (pixels)": attrgetter("height")},
        {"mode": lambda header: [header.mode]},
    ),
    "video": Summary(
        read_video_header,
        {
            "width (pixels)": attrgetter("width"),
            "height (pixels)": attrgetter("height"),
            "length (frames)": attrgetter("num_frames"),
            "length (seconds)": attrgetter("seconds"),
        },
        {"codec": lambda header: [header.codec or "none"]},
    ),
    "audio": Summary(measure_duration, {"length (seconds)": float}, {}),
    "text": Summary(
        _count_text,
        {"length (words)": itemgetter(0)},
        {f"words of {MIN_LETTERS} letters or more": itemgetter(1)},
    ),
    "series": Summary(
        _measure_series,
        {"length (steps)": itemgetter(1)},
        {"channels": lambda shape: [str(shape[0])]},
    ),
    "points": Summary(_measure_cloud, {"number of points": itemgetter(0)}, {"columns": itemgetter(1)}),
}


def _summarize_values(statistics: ModalityStatistics, column: Column, split: np.ndarray, rows: np.ndarray) -> None:
    """Summarise values of which each is read; of several files in a cell, the first one."""
    summary = SUMMARIES[column.kind]
    read = summary.read
    if column.kind == "series":
        read = partial(read, layout=choose_layout(column, rows).layout)
    facts, readable = [], []
    results = map_rows(column, rows.tolist(), lambda value: read(list_items(value)[0]))
    for row, result in zip(rows.tolist(), results, strict=True):
        if isinstance(result, DataError):
            statistics.unreadable[column.locate(row)] = str(result)
        else:
            facts.append(result)
            readable.append(row)
    splits = split[np.array(readable, dtype=np.int64)]
    for name, measure in summary.numbers.items():
        numbers = np.array([measure(fact) for fact in facts], dtype=np.float64)
        is_known = ~np.isnan(numbers)
        distribution = describe_numbers(numbers[is_known], splits[is_known])
        if distribution is not None:
            statistics.distributions[name] = distribution
    for name, list_words in summary.words.items():
        by_split: dict[str, Counter[str]] = {part: Counter() for part in SPLITS}
        for fact, part in zip(facts, splits.tolist(), strict=True):
            by_split[part].update(list_words(fact))
        statistics.frequencies[name] = rank_values(by_split)


def _summarize_cells(statistics: ModalityStatistics, column: Column, split: np.ndarray) -> None:
    """Summarise the columns of a table: numbers as a distribution, all others as frequencies."""
    all_columns = Records.from_rows(column.values).columns
    columns = {name: cells for name, cells in all_columns.items() if not encodes_date(name)}
    if len(columns) > MAX_COLUMNS:
        statistics.notes.append(f"the first {MAX_COLUMNS} of {len(columns)} columns are shown")
    for name, cells in list(columns.items())[:MAX_COLUMNS]:
        numbers = None if name in column.categorical else parse_numbers(cells)
        distribution = None if numbers is None else describe_numbers(numbers, split)
        if distribution is not None:
            statistics.distributions[name] = distribution
        else:
            texts = np.array(["" if cell is None else str(cell) for cell in cells], dtype=object)
            statistics.frequencies[name] = rank_values({part: Counter(texts[split == part]) for part in SPLITS})


def encodes_date(name: str) -> bool:
    """Return whether a column is one that encoders read of a date beside its year, and people do not.

    Args:
        name: of the column.
    """
    return ENCODED_DATE.search(name) is not None
