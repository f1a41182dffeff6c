"""Writes the manifest of a benchmark, and counts what is in it and what is missing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from mmrun.data.benchmarks.benchmark import Benchmark, Row
from mmrun.data.benchmarks.source import MAX_NAMES, Source
from mmrun.data.benchmarks.writing import write_rows
from mmrun.data.names import join_names
from mmrun.errors import DataError, escape


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Attributes:
        rows: number by split; by "" where mmrun draws the split.
        columns: of the manifest.
        modalities: those that any row has, in the order of the benchmark.
        missing: names of the files that are missing, by modality.
        left_out: number of rows that were not written, by reason.
        notes: what the user should know.
    """

    rows: Mapping[str, int]
    columns: Sequence[str]
    modalities: Sequence[str]
    missing: Mapping[str, Sequence[str]]
    left_out: Mapping[str, int]
    notes: Sequence[str]


def write_manifest(benchmark: Benchmark, source: Source, path: Path, suffix: str) -> Prepared:
    """Read the folder of a benchmark, and write its rows.

    Args:
        benchmark: one of `catalog.BENCHMARKS`.
        source: the folder into which it was unpacked.
        path: written; incomplete where an error is raised.
        suffix: .csv or .parquet.

    Raises:
        DataError: the folder is not one of this benchmark, is damaged, or lacks files that may not be missing.
    """
    rows: Counter[str] = Counter()
    columns: list[str] = []
    filled: set[str] = set()  # columns that any row fills

    def count_rows() -> Iterator[Row]:
        for row in _select_rows(benchmark, source):
            columns[:] = columns or row
            filled.update(column for column, cell in row.items() if cell not in (None, ""))
            rows[str(row.get("split", ""))] += 1
            yield row

    write_rows(path, count_rows(), suffix)
    if source.missing and not source.allow_missing:
        raise DataError(_describe_missing(source))
    if not columns:
        raise DataError(f"{source.folder}: no row of {benchmark.title} is left; {_describe_left_out(source)}")
    return Prepared(
        rows=dict(rows),
        columns=columns,
        modalities=[name for name in benchmark.modalities if filled & set(benchmark.list_columns(name))],
        missing=source.missing,
        left_out=dict(source.left_out),
        notes=source.notes,
    )


def _select_rows(benchmark: Benchmark, source: Source) -> Iterator[Row]:
    """Yield the rows in which any modality is present."""
    columns = list(chain.from_iterable(map(benchmark.list_columns, benchmark.modalities)))
    for row in benchmark.read_rows(source):
        if any(row.get(column) not in (None, "") for column in columns):
            yield row
        else:
            source.left_out["no modality is there"] += 1


def _describe_missing(source: Source) -> str:
    parts = []
    for modality, names in source.missing.items():
        parts.append(f"{len(names):,} of {modality} ({join_names(list(map(escape, names)), MAX_NAMES)})")
    mend = "get them, or leave their cells empty with --allow-missing"
    return f"{source.folder}: files of {source.title} are missing: {'; '.join(parts)}; {mend}"


def _describe_left_out(source: Source) -> str:
    reasons = [f"{count:,} left out: {reason}" for reason, count in source.left_out.items()]
    return "; ".join(reasons) or "its files are empty"
