"""Summarises a data set: its rows, targets and modalities by split, as histograms, frequencies and correlations."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmrun.data.checks.distributions import Distribution, Frequencies, describe_numbers, rank_values
from mmrun.data.checks.modality_statistics import ModalityStatistics, encodes_date, summarize_modality
from mmrun.data.packed import PackedValues, Records
from mmrun.data.sheets.numbers import parse_numbers
from mmrun.data.split import count_labels, has_target
from mmrun.data.table import SPLITS, Table, Target

MAX_ROWS = 100_000  # of which cells and texts are summarised; a data set with more is sampled
MAX_CORRELATED = 20  # columns


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
        missing = _count_by_split(~table.columns[name].is_present(), table.split)
        modalities[name] = summarize_modality(column, sample.split, missing, rng)
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


def _summarize_target(target: Target, split: np.ndarray) -> TargetStatistics:
    values = target.values
    is_hidden: np.ndarray = ~has_target(target)
    if target.task == "regression":
        numbers = values.reshape(len(values), -1).astype(np.float64)
        distribution = describe_numbers(numbers[:, 0], split)
        return TargetStatistics(target.task, _count_by_split(is_hidden, split), None, distribution)
    by_split: dict[str, Counter[str]] = {}
    for name, counts in count_labels(target, split, SPLITS).items():
        by_split[name] = Counter(dict(zip(target.names, counts.tolist(), strict=True)))
    return TargetStatistics(target.task, _count_by_split(is_hidden, split), rank_values(by_split), None)


def _count_by_split(is_counted: np.ndarray, split: np.ndarray) -> dict[str, int]:
    return {name: int((is_counted & (split == name)).sum()) for name in SPLITS}


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
    values = []
    for first in numbers.values():
        values.append([_correlate_pair(first, second) for second in numbers.values()])
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
