"""The user's own data: a CSV, JSON Lines or Parquet file whose cells are file names, texts, numbers and targets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import numpy as np

from mmrun.data import cells, infer, limits
from mmrun.data.align.options import Alignment, list_times, parse_alignments
from mmrun.data.align.rows import read_modality
from mmrun.data.checks.suspicious import find_suspicious
from mmrun.data.decoding_options import DecodingOptions
from mmrun.data.file_digests import FileDigests
from mmrun.data.file_resolver import FileResolver
from mmrun.data.fingerprint import add_contents, compute_fingerprint
from mmrun.data.folders.opened import Opened
from mmrun.data.folders.recognize import HINT, open_path
from mmrun.data.folders.root import choose_root
from mmrun.data.folds import EVERY_FOLD, parse_fold, split_by_fold
from mmrun.data.items import Pooling
from mmrun.data.labels import Label, encode_target, get_label_parser
from mmrun.data.names import collect_names, normalize_name
from mmrun.data.packed import PackedValues, is_present
from mmrun.data.schema import Layout, Names, Roles, Schema, infer_layout, resolve_schema
from mmrun.data.sheets.chunks import SAMPLE_ROWS
from mmrun.data.sheets.formats import format_to_json
from mmrun.data.sheets.readings import apply_readings, infer_readings, select_readings
from mmrun.data.sheets.sheet import Locations, Reading, Sheet
from mmrun.data.split import resolve_split
from mmrun.data.split_names import describe_split_names, map_split_names, normalize_split
from mmrun.data.table import Column, SeriesLayout, Table
from mmrun.errors import ConfigError, DataError
from mmrun.values import NonNegativeInt, Range

ItemCount = Annotated[int, Range(at_least=1, at_most=limits.MAX_ITEMS)]


def manifest(
    path: str | None,
    columns: Mapping[str, Names] | None = None,
    kinds: Mapping[str, str] | None = None,
    target: Names = "label",
    task: str | Mapping[str, str] | None = None,
    order: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    split: str | None = "split",
    group: str | None = None,
    id: str | None = "id",
    root: str | None = None,
    allow_outside: bool = False,
    on_error: Literal["raise", "skip"] = "raise",
    split_seed: NonNegativeInt = 0,
    encoding: str | None = None,
    read: Mapping[str, str] | None = None,
    items: Mapping[str, Pooling] | None = None,
    max_items: ItemCount | None = None,
    layout: Mapping[str, SeriesLayout] | None = None,
    align: Mapping[str, Alignment] | None = None,
    fold: NonNegativeInt | None = None,
    fold_column: str | None = "fold",
    hint: str = HINT,
    digests: FileDigests | None = None,
) -> Table:
    """Open a file and check all its rows. The files that it names have to exist, but are not decoded yet.

    Args:
        path: a table, a folder, an archive, shards-{000..127}.tar or hf://owner/name; see docs/data.md.
        columns: the column or columns of each modality; None: every column that is not named below.
        kinds: of the modalities whose kind is not inferred from the cells.
        target: column to predict, or several.
        task: of all targets, or by target; None: inferred from the cells.
        order: classes of the ordinal targets, lowest first, or by target; None: they are numbers.
        split: column of train, val and test; None, or "split" and no such column: rows are split 80/10/10.
        group: column whose rows stay together in one split.
        id: column of unique names of the rows; None, or "id" and no such column: "file:line".
        root: folder that file names start from; None: that of the file.
        allow_outside: whether file names may lead out of the root.
        on_error: raise | skip: what happens to bad rows.
        split_seed: of the 80/10/10 split.
        encoding: of the file, if it is not Unicode: cp1252 ...
        read: how columns are read whose cells do not show it: number, decimal_comma, date, day_first, month_first,
            text or category.
        items: how several pictures or sounds in one cell are read, by modality: pooled (the mean of their vectors) or
            tokens; None: pooled.
        max_items: number that is read of a row; None: chosen from the training rows.
        layout: of series with two axes, by modality: time_first or channels_first; None: chosen from the rows.
        align: of modalities whose cells name streams, what of a stream belongs to a row; see `align.options`.
        fold: of a cross-validation, the one for testing; the next one is for validation. None: `split` decides.
        fold_column: column of the folds, 0, 1, 2 ...; a row without one is always for training.
        hint: ends the error message if there is no file.
        digests: remembers the contents of the files that cells name; None: they are read anew.

    Raises:
        ConfigError: an argument does not fit the file.
        DataError: the file, or a row of it with on_error=raise, cannot be used.
    """
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"dataset.on_error: '{on_error}'; choose raise or skip")
    cache = None if digests is None else digests.folder
    opened = open_path(_require_path(path, hint), cache, encoding=encoding, hint=hint)
    decoding = DecodingOptions(items or {}, max_items, layout or {}, parse_alignments(align))
    roles = Roles(columns, kinds, target, split, group, id, fold, fold_column, list_times(decoding.align))
    readings, file_columns = _infer_columns(opened.sheet.head(), read, task, roles)
    decoding.check(file_columns)
    sheet = apply_readings(opened.sheet, select_readings(readings, _list_used_columns(file_columns)))
    reader = cells.RowReader(sheet, on_error)
    schema = resolve_schema(sheet, file_columns, task, order)
    folder, root_notes = choose_root(opened, _list_file_columns(file_columns), root)
    files = FileResolver(folder, allow_outside, cache=cache)
    raw_rows = _read_rows(sheet, reader, schema, files, decoding, fold)
    table = _build_table(opened, sheet, reader, schema, files, decoding, raw_rows, split_seed)
    reading_notes = [reading.note for reading in sheet.readings.values() if reading.note]
    reading_warnings = [reading.warning for reading in sheet.readings.values() if reading.warning]
    return replace(
        table,
        root=folder,
        on_error=on_error,
        fingerprint=add_contents(table.fingerprint, files, digests, encoding),
        old_fingerprint=table.fingerprint,
        notes=[*opened.notes, *root_notes, *table.notes, *reading_notes],
        warnings=[*table.warnings, *reading_warnings, *find_suspicious(table, group)],
    )


def infer_modalities(
    path: str | None,
    columns: Mapping[str, Names] | None = None,
    kinds: Mapping[str, str] | None = None,
    target: Names = "label",
    split: str | None = "split",
    group: str | None = None,
    id: str | None = "id",
    encoding: str | None = None,
    task: str | Mapping[str, str] | None = None,
    read: Mapping[str, str] | None = None,
    align: Mapping[str, Any] | None = None,
    fold: int | None = None,
    fold_column: str | None = "fold",
    hint: str = HINT,
    cache: Path | None = None,
    **_: object,
) -> dict[str, infer.Modality]:
    """Infer the modalities as `manifest` does, but from the header and the first rows alone.

    Args:
        path: this and all other arguments are those of `manifest`; those that do not matter here are ignored.
        cache: folder in which an archive is unpacked; None: a temporary one.

    Returns:
        Kind and columns by modality, with the reason for the kind.

    Raises:
        ConfigError: an argument does not fit the file.
        DataError: the file cannot be read.
    """
    sheet = open_path(_require_path(path, hint), cache, SAMPLE_ROWS, encoding, hint).sheet
    times = list_times(parse_alignments(align))
    roles = Roles(columns, kinds, target, split, group, id, fold, fold_column, times)
    return _infer_columns(sheet, read, task, roles)[1].modalities


def _infer_columns(
    head: Sheet, read: Mapping[str, str] | None, task: str | Mapping[str, str] | None, roles: Roles
) -> tuple[dict[str, Reading], Layout]:
    """Infer from the first rows how cells are read, and what columns hold."""
    readings = infer_readings(head, read, roles.list_names(task))
    return readings, infer_layout(apply_readings(head, readings), roles)


def _list_used_columns(layout: Layout) -> list[str]:
    """Return the columns of the targets and of the modalities."""
    used = list(layout.targets)
    for modality in layout.modalities.values():
        used += modality.columns
    return used


def _list_file_columns(layout: Layout) -> list[str]:
    """Return the columns whose cells may be names of files."""
    return [modality.columns[0] for modality in layout.modalities.values() if modality.kind != "tabular"]


def describe(cache: Path | None = None, **arguments: Any) -> dict[str, str]:
    """Return the kind of each modality, from the header and the first rows alone and without an import of torch.

    Args:
        cache: folder in which an archive is unpacked; None: a temporary one.
        arguments: those of `manifest`.
    """
    return {name: modality.kind for name, modality in infer_modalities(cache=cache, **arguments).items()}


def _require_path(path: str | None, hint: str = HINT) -> str:
    """Return the path that was given."""
    if path is None:
        raise DataError(f"dataset.path: no file is given; {hint}")
    return path


# ----------------------------------------------------------------------------------------------------------------- rows


class RawRows(NamedTuple):
    """The N rows of a file, before bad ones are left out.

    Attributes:
        values: by modality.
        labels: by target.
        ids: names of the rows.
        groups: names of groups; None: rows are independent.
        split: names of splits; None: the file gives none.
        notes: what was inferred.
        warnings: what may be a mistake.
    """

    values: dict[str, cells.RawValues]
    labels: dict[str, PackedValues[Label | None]]
    ids: Locations | PackedValues[str | None]
    groups: PackedValues[str | None] | None
    split: PackedValues[str | None] | None
    notes: list[str]
    warnings: list[str]


def _read_rows(
    sheet: Sheet,
    reader: cells.RowReader,
    schema: Schema,
    files: FileResolver,
    decoding: DecodingOptions,
    fold: int | None,
) -> RawRows:
    """Parse all cells."""
    layout = schema.layout
    notes, warnings = list(schema.notes), list[str]()
    values: dict[str, cells.RawValues] = {}
    for name, modality in layout.modalities.items():
        read = read_modality(reader, name, modality, files, decoding.align, decoding.layout)
        if read.warnings and not is_present(read.values).any():
            raise DataError(read.warnings[0])
        values[name] = read.values
        notes += read.notes
        warnings += read.warnings
    reader.require_any_modality(values, has_times=bool(decoding.align))
    labels = read_labels(reader, schema)
    ids = sheet.locate_rows() if layout.id is None else reader.read_ids(layout.id)
    groups = None if layout.group is None else reader.read_column(layout.group, normalize_name, required=True)
    split = _read_split(reader, layout, sheet, fold, notes)
    if split is not None:
        for name, column in labels.items():
            reader.require_labels(name, column, split)
    return RawRows(values, labels, ids, groups, split, notes, warnings)


def _build_table(
    opened: Opened,
    sheet: Sheet,
    reader: cells.RowReader,
    schema: Schema,
    files: FileResolver,
    decoding: DecodingOptions,
    raw: RawRows,
    split_seed: int,
) -> Table:
    """Return the valid rows."""
    rows = reader.select_valid_rows()
    targets = {}
    for name, task in schema.tasks.items():
        targets[name] = encode_target(task, raw.labels[name].take(rows), name, sheet.name, schema.orders[name])
    modalities = schema.layout.modalities
    columns = {}
    for name, modality in modalities.items():
        locations = sheet.locate_rows(modality.columns).take(rows)
        categorical = frozenset(sheet.columns_read_as("category")) & frozenset(modality.columns)
        column = Column(modality.kind, raw.values[name].take(rows), locations, categorical)
        columns[name] = decoding.apply(name, column)
    groups = None if raw.groups is None else collect_names(raw.groups.take(rows))
    split = None if raw.split is None else collect_names(raw.split.take(rows))
    lines = sheet.lines[rows] if reader.skipped else None
    content = opened.hash_content()
    return Table(
        ids=cast(Sequence[str], raw.ids.take(rows)),
        columns=columns,
        targets=targets,
        split=resolve_split(sheet.name, split, targets, groups, split_seed, raw.notes),
        fingerprint=compute_fingerprint(content, files.sizes, schema, lines, sheet.readings, decoding.align),
        groups=groups,
        skipped=reader.skipped,
        notes=raw.notes,
        warnings=raw.warnings,
        fields={name: list(modality.columns) for name, modality in modalities.items()},
        formats={name: format_to_json(reading.format) for name, reading in sheet.readings.items() if reading.format},
    )


def read_labels(reader: cells.RowReader, schema: Schema) -> dict[str, PackedValues[Label | None]]:
    """Read the targets.

    Args:
        reader: of the file.
        schema: tasks of the targets.

    Returns:
        N labels by target, None where a target is hidden.
    """
    labels = {}
    for name, task in schema.tasks.items():
        if task == "regression":
            labels[name] = reader.read_numbers(name)
        else:
            labels[name] = reader.read_column(name, get_label_parser(task, name in schema.numeric))
    return labels


def _read_split(
    reader: cells.RowReader, layout: Layout, sheet: Sheet, fold: int | None, notes: list[str]
) -> PackedValues[str | None] | None:
    """Return the split of each row that the file gives, by its folds or its names of splits; None if it gives none."""
    if layout.fold is not None and fold is not None:
        folds = reader.read_column(layout.fold, parse_fold)
        numbers = folds.map(lambda number: EVERY_FOLD if number is None else number).astype(np.int64)
        if layout.split is not None:
            notes.append(f"dataset.fold chooses the split, and column '{layout.split}' is not used")
        return PackedValues[str | None](split_by_fold(numbers, fold, layout.fold).tolist())
    if layout.split is None:
        return None
    mapping = map_split_names(layout.split, sheet.columns[layout.split].list_different())
    notes += describe_split_names(layout.split, mapping)
    return reader.read_column(layout.split, partial(_parse_split, mapping), required=True)


def _parse_split(mapping: Mapping[str, str], cell: object) -> str:
    name = normalize_split(cell)
    if name not in mapping:
        raise DataError(f"'{cell}' is not a split; write train, val or test")
    return mapping[name]
