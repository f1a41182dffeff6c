"""Aligns the rows of a table with streams: each row names a stream and a time in it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from mmrun.data import cells, limits
from mmrun.data.align.options import Alignment, check_alignment
from mmrun.data.align.streams import open_stream
from mmrun.data.align.timestamps import parse_time
from mmrun.data.cells import RawValues, RowReader
from mmrun.data.file_resolver import FileResolver
from mmrun.data.infer import Modality
from mmrun.data.packed import PackedValues
from mmrun.data.sheets.numbers import is_missing_mark
from mmrun.data.table import SeriesLayout
from mmrun.errors import ConfigError, DataError, nearest


class ReadModality(NamedTuple):
    """A modality of all rows.

    Attributes:
        values: N raw values; None where it is missing.
        notes: what is read of its streams, one line each; empty: it has none.
        warnings: which rows have nothing at their time; empty: none.
    """

    values: RawValues
    notes: list[str]
    warnings: list[str]


def check_alignments(alignments: Mapping[str, Alignment], modalities: Mapping[str, Modality]) -> None:
    """Check that alignments fit the modalities.

    Args:
        alignments: by modality.
        modalities: of the file.

    Raises:
        ConfigError: a name is no modality, or an alignment does not fit its kind.
    """
    for name, alignment in alignments.items():
        if name not in modalities:
            close = nearest(name, list(modalities))
            raise ConfigError(
                f"dataset.align.{name}: there is no such modality{close} (there are {', '.join(modalities)})"
            )
        check_alignment(name, modalities[name].kind, alignment)


def read_modality(
    reader: RowReader,
    name: str,
    modality: Modality,
    files: FileResolver,
    alignments: Mapping[str, Alignment],
    layouts: Mapping[str, SeriesLayout],
) -> ReadModality:
    """Read the raw values of a modality, of its streams where it is aligned.

    Args:
        reader: of the table.
        name: of the modality.
        modality: its kind and columns.
        files: resolves the file names in its cells.
        alignments: by modality.
        layouts: of series, by modality.

    Raises:
        DataError: a cell cannot be read, and bad rows raise; or windows take too much memory.
    """
    if name not in alignments:
        return ReadModality(cells.read_values(reader, modality, files), [], [])
    return _align(reader, name, modality, files, alignments[name], layouts.get(name, "auto"))


def _align(
    reader: RowReader, name: str, modality: Modality, files: FileResolver, alignment: Alignment, layout: SeriesLayout
) -> ReadModality:
    """Read what of streams belongs to rows; each stream is opened once."""
    column = modality.columns[0]
    times = reader.read_column(alignment.time, parse_time)
    values: list[object] = [None] * len(times)
    misses: dict[int, str] = {}  # by row, where and when its stream has nothing
    num_numbers = 0
    for stream_name, rows in _group_rows(reader.read_column(column, _parse_name), times).items():
        moments = np.array([times[row] for row in rows], dtype=np.float64)
        try:
            stream = open_stream(modality.kind, stream_name, alignment, files, layout)
            cut = stream.cut(moments - alignment.offset)
        except DataError as error:
            cut = [error] * len(rows)
        for row, moment, value in zip(rows, moments, cut, strict=True):
            if isinstance(value, DataError):
                reader.reject(row, f"column '{column}': {value}")
            elif value is None:
                first, last = stream.start + alignment.offset, stream.stop + alignment.offset
                misses[row] = f"{_format(moment)} s, in a stream from {_format(first)} to {_format(last)} s"
            else:
                values[row] = value
        num_numbers += sum(value.size for value in cut if isinstance(value, np.ndarray))
        if num_numbers > limits.MAX_VALUES:
            raise DataError(
                f"dataset.align.{name}: its windows hold more than {limits.MAX_VALUES / 1e6:.0f} million numbers; "
                "lower its rate, or shorten its window"
            )
    warnings = []
    if misses:
        row = min(misses)
        warnings.append(
            f"{name}: {len(misses):,} of {len(times):,} rows have nothing at their time, first {reader.locate(row)}: "
            f"{misses[row]}; dataset.align.{name}.offset moves the clock of its streams"
        )
    aligned = cast(RawValues, PackedValues(values))
    return ReadModality(aligned, [_describe(name, modality.kind, alignment)], warnings)


def _parse_name(cell: object) -> str | None:
    """Return the name of a stream."""
    if is_missing_mark(cell):
        return None
    if not isinstance(cell, str):
        raise DataError(f"holds a {type(cell).__name__}; with dataset.align it has to name a stream")
    return cell


def _group_rows(names: Sequence[str | None], times: Sequence[float | None]) -> dict[str, list[int]]:
    """Return the rows of each stream that have a time."""
    rows_of: dict[str, list[int]] = {}
    for row, (name, time) in enumerate(zip(names, times, strict=True)):
        if name is not None and time is not None:
            rows_of.setdefault(name, []).append(row)
    return rows_of


def _format(seconds: float) -> str:
    """Return a time to the ms, in all its digits: it may be since 1970."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _describe(name: str, kind: str, alignment: Alignment) -> str:
    """Describe what is read of the streams of a modality."""
    if alignment.window is None:
        return f"{name}: the file whose time stamp is nearest to '{alignment.time}'"
    first, last = alignment.window
    window = f"{first:+g} to {last:+g} s around '{alignment.time}'"
    if kind != "series":
        return f"{name}: {window}"
    how = "the nearest samples" if alignment.how == "nearest" else "interpolated"
    return f"{name}: {window}, {alignment.num_steps:,} steps at {alignment.rate:g} Hz, {how}"
