"""The user's own data: a CSV, JSON Lines or Parquet file whose cells are file names, texts, numbers and targets."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import numpy as np

from mmrun.data import cells, infer, limits
from mmrun.data.checks.suspicious import find_suspicious
from mmrun.data.file_digests import FileDigests
from mmrun.data.file_resolver import FileResolver
from mmrun.data.folders.opened import Opened
from mmrun.data.folders.recognize import HINT, open_path
from mmrun.data.folders.root import choose_root
from mmrun.data.folds import EVERY_FOLD, parse_fold, split_by_fold
from mmrun.data.items import ItemOptions, Pooling
from mmrun.data.labels import Label, encode_target, get_label_parser
from mmrun.data.names import collect_names, normalize_name, shorten
from mmrun.data.packed import PackedValues
from mmrun.data.preprocess.items import has_items
from mmrun.data.schema import Layout, Names, Schema, infer_layout, resolve_schema
from mmrun.data.sheets.formats import format_to_json
from mmrun.data.sheets.readings import apply_readings, infer_readings
from mmrun.data.sheets.sheet import SAMPLE_ROWS, Reading, Sheet
from mmrun.data.split import compute_split_labels, has_target, make_split
from mmrun.data.split_names import describe_split_names, map_split_names, normalize_split
from mmrun.data.table import Column, SeriesLayout, Table, Target
from mmrun.errors import ConfigError, DataError
from mmrun.values import NonNegativeInt, Range

FILE_KINDS = ("image", "audio", "points")  # a cell can name several of these
ItemCount = Annotated[int, Range(at_least=1, at_most=limits.MAX_ITEMS)]
MIN_TRAINING_ROWS = 10  # from which rows are drawn for a split that the file lacks


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
        fold: of a cross-validation, the one for testing; the next one is for validation. None: `split` decides.
        fold_column: column of the folds, 0, 1, 2 ...; a row without one is always for training.
        hint: ends the error message if there is no file.
        digests: remembers the contents of the files that cells name; None: they are read anew.

    Raises:
        ConfigError: an argument does not fit the file.
        DataError: the file, or a row of it with on_error=raise, cannot be used.
    """
    _check_on_error(on_error)
    cache = None if digests is None else digests.folder
    opened = open_path(require_path(path, hint), cache, encoding=encoding, hint=hint)
    sheet = opened.sheet
    head = sheet.head()
    readings = infer_readings(head, read, _list_raw_columns(target, task, split, group, id, fold_column))
    head = apply_readings(head, readings)
    file_columns = infer_layout(head, columns, kinds, target, split, group, id, fold, fold_column)
    decoding = Decoding(items or {}, max_items, layout or {})
    decoding.check(file_columns)
    sheet = apply_readings(sheet, _select_readings(readings, file_columns))
    reader = cells.RowReader(sheet, on_error)
    schema = resolve_schema(sheet, file_columns, task, order)
    if root:
        folder, root_notes = Path(root).expanduser(), list[str]()
    else:
        folder, root_notes = choose_root(opened, _list_file_columns(file_columns))
    files = FileResolver(folder, allow_outside, cache=cache)
    table = _build_table(opened, sheet, reader, schema, files, decoding, split_seed, fold)
    fingerprint = table.fingerprint
    if files.sizes:
        contents = files.digest_contents(FileDigests() if digests is None else digests)
        fingerprint = hashlib.sha256(f"{fingerprint} {contents}".encode()).hexdigest()
    if encoding is not None:
        fingerprint = f"{fingerprint}-{encoding}"
    reading_notes = [reading.note for reading in sheet.readings.values() if reading.note]
    return replace(
        table,
        root=folder,
        on_error=on_error,
        fingerprint=fingerprint,
        old_fingerprint=table.fingerprint,
        notes=[*opened.notes, *root_notes, *table.notes, *reading_notes],
        warnings=[
            *(reading.warning for reading in sheet.readings.values() if reading.warning),
            *find_suspicious(table, group),
        ],
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
    sheet = open_path(require_path(path, hint), cache, SAMPLE_ROWS, encoding, hint).sheet
    readings = infer_readings(sheet, read, _list_raw_columns(target, task, split, group, id, fold_column))
    head = apply_readings(sheet, readings)
    layout = infer_layout(head, columns, kinds, target, split, group, id, fold, fold_column)
    return layout.modalities


def _list_file_columns(layout: Layout) -> list[str]:
    """Return the columns whose cells may be names of files."""
    return [modality.columns[0] for modality in layout.modalities.values() if modality.kind != "tabular"]


def _list_raw_columns(target: Names, task: str | Mapping[str, str] | None, *bookkeeping: str | None) -> set[str | None]:
    """Return the columns whose cells are names: they are not read as numbers or dates."""
    targets = [target] if isinstance(target, str) else list(target)
    tasks = dict.fromkeys(targets, task) if task is None or isinstance(task, str) else task
    return {*bookkeeping, *(name for name in targets if tasks.get(name) in ("classification", "multilabel"))}


def describe(cache: Path | None = None, **arguments: Any) -> dict[str, str]:
    """Return the kind of each modality, from the header and the first rows alone and without an import of torch.

    Args:
        cache: folder in which an archive is unpacked; None: a temporary one.
        arguments: those of `manifest`.
    """
    return {name: modality.kind for name, modality in infer_modalities(cache=cache, **arguments).items()}


class Decoding(NamedTuple):
    """How the values of some modalities are decoded.

    Attributes:
        items: how several pictures or sounds of a row are read, by modality.
        max_items: number that is read of a row; None: chosen from the training rows.
        layout: of series, by modality.
    """

    items: Mapping[str, Pooling]
    max_items: int | None
    layout: Mapping[str, SeriesLayout]

    def check(self, columns: Layout) -> None:
        """Reject names that are no modality, or one of another kind.

        Args:
            columns: what the columns of the file hold.

        Raises:
            ConfigError: a name does not fit.
        """
        for key, names, kinds in (("items", self.items, FILE_KINDS), ("layout", self.layout, ("series",))):
            fitting = [name for name, modality in columns.modalities.items() if modality.kind in kinds]
            for name in names:
                if name not in fitting:
                    raise ConfigError(
                        f"dataset.{key}.{name}: this is for modalities of the kind {' or '.join(kinds)} (there are "
                        f"{', '.join(fitting) or 'none'})"
                    )

    def apply(self, name: str, column: Column) -> Column:
        """Return the column of a modality with what decoding needs to know.

        Args:
            name: of the modality.
            column: its raw values.
        """
        if column.kind == "series":
            return replace(column, layout=self.layout.get(name, "auto"))
        if column.kind in FILE_KINDS and (name in self.items or has_items(column)):
            return replace(column, items=ItemOptions(self.items.get(name, "pooled"), self.max_items))
        return column


def _select_readings(readings: Mapping[str, Reading], layout: Layout) -> dict[str, Reading]:
    """Return the readings of the columns that are used; raise an error where one has to be set."""
    used = list(layout.targets)
    for modality in layout.modalities.values():
        used += modality.columns
    selected = {name: readings[name] for name in used if name in readings}
    for reading in selected.values():
        if reading.error:
            raise ConfigError(reading.error)
    return selected


def _check_on_error(on_error: str) -> None:
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"dataset.on_error: '{on_error}'; choose raise or skip")


def require_path(path: str | None, hint: str = HINT) -> str:
    """Return the path that was given.

    Args:
        path: as typed.
        hint: ends the error message if there is none.

    Raises:
        DataError: there is none.
    """
    if path is None:
        raise DataError(f"dataset.path: no file is given; {hint}")
    return path


# ----------------------------------------------------------------------------------------------------------------- rows


def _build_table(
    opened: Opened,
    sheet: Sheet,
    reader: cells.RowReader,
    schema: Schema,
    files: FileResolver,
    decoding: "Decoding",
    split_seed: int,
    fold: int | None,
) -> Table:
    """Parse all cells, and return the valid rows."""
    layout = schema.layout
    values = _read_modalities(reader, layout, files)
    labels = read_labels(reader, schema)
    ids = sheet.locate_rows() if layout.id is None else reader.read_ids(layout.id)
    groups = None if layout.group is None else reader.read_column(layout.group, normalize_name, required=True)
    notes = list(schema.notes)
    split = _read_split(reader, layout, sheet, fold, notes)
    if split is not None:
        for name, column in labels.items():
            reader.require_labels(name, column, split)

    rows = reader.select_valid_rows()
    targets = {}
    for name, task in schema.tasks.items():
        column = labels[name].take(rows)
        targets[name] = encode_target(task, column, name, sheet.name, schema.orders[name])
    columns = {}
    for name, modality in layout.modalities.items():
        locations = sheet.locate_rows(modality.columns).take(rows)
        categorical = frozenset(sheet.columns_read_as("category")) & frozenset(modality.columns)
        columns[name] = decoding.apply(name, Column(modality.kind, values[name].take(rows), locations, categorical))
    group_of = None if groups is None else collect_names(groups.take(rows))
    given_split = None if split is None else collect_names(split.take(rows))
    return Table(
        ids=cast(Sequence[str], ids.take(rows)),
        columns=columns,
        targets=targets,
        split=_resolve_split(sheet.name, given_split, targets, group_of, split_seed, notes),
        fingerprint=_compute_fingerprint(
            opened.hash_content(), files.sizes, schema, sheet.lines[rows] if reader.skipped else None, sheet.readings
        ),
        groups=group_of,
        skipped=reader.skipped,
        notes=notes,
        fields={name: list(modality.columns) for name, modality in layout.modalities.items()},
        formats={name: format_to_json(reading.format) for name, reading in sheet.readings.items() if reading.format},
    )


def _read_modalities(reader: cells.RowReader, layout: Layout, files: FileResolver) -> dict[str, cells.RawValues]:
    values = {}
    for name, modality in layout.modalities.items():
        values[name] = cells.read_values(reader, modality, files)
    reader.require_any_modality(values)
    return values


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


def _resolve_split(
    name: str,
    split: np.ndarray | None,
    targets: Mapping[str, Target],
    groups: np.ndarray | None,
    seed: int,
    notes: list[str],
) -> np.ndarray:
    """Return the split of each row, [N] str: that of the file, or a new one in which rows without a target are train.

    No group is in two splits. What the file's split lacks is drawn from its training rows, with a note.
    """
    if split is not None:
        if groups is not None:
            _check_groups(name, split, groups)
        return _complete_split(split, targets, groups, seed, notes)
    labelled = np.all([has_target(target) for target in targets.values()], axis=0)
    if groups is not None and not labelled.all():
        raise DataError(
            f"{name}: {(~labelled).sum()} rows have no target, and dataset.group is set; add a split column as well"
        )
    split = np.full(len(labelled), "train", dtype="<U5")
    strata = compute_split_labels(next(iter(targets.values())))[labelled]
    try:
        split[labelled] = make_split(len(strata), seed, strata, groups)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    return split


def _complete_split(
    split: np.ndarray, targets: Mapping[str, Target], groups: np.ndarray | None, seed: int, notes: list[str]
) -> np.ndarray:
    """Return a split in which val and test have rows; a tenth of the training rows is moved to one that has none."""
    labelled = np.all([has_target(target) for target in targets.values()], axis=0)
    train = np.flatnonzero((split == "train") & labelled)
    lacking = [part for part in ("val", "test") if not (split == part).any()]
    if not lacking or len(train) < MIN_TRAINING_ROWS:
        return split
    strata = compute_split_labels(next(iter(targets.values())))[train]
    drawn = make_split(len(train), seed, strata, None if groups is None else groups[train])
    completed = split.copy()
    for part in lacking:
        rows = train[drawn == part]
        completed[rows] = part
        notes.append(f"no row is in {part}: {len(rows)} of the training rows are drawn for it (dataset.split_seed)")
    return completed


def _check_groups(name: str, split: np.ndarray, groups: np.ndarray) -> None:
    """Raise an error if a group is in two splits."""
    names, group = np.unique(groups, return_inverse=True)
    parts, part = np.unique(split, return_inverse=True)
    group_of_pair, part_of_pair = np.divmod(np.unique(group * len(parts) + part), len(parts))
    torn = np.flatnonzero(np.diff(group_of_pair) == 0)
    if len(torn):
        first, second = parts[part_of_pair[torn[0] : torn[0] + 2]]
        label = shorten(str(names[group_of_pair[torn[0]]]))
        raise DataError(f"{name}: group '{label}' is in {first} and in {second}; keep the rows of a group in one split")


def _compute_fingerprint(
    content: str,
    sizes: Mapping[str, int],
    schema: Schema,
    lines: np.ndarray | None,
    readings: Mapping[str, Reading],
) -> str:
    """Hash the file, the names and sizes of those that it names, and how it is read.

    Absolute paths are left out, so that it is the same on every machine.

    Args:
        content: digest of the user's file, or of what a folder says of its rows.
        sizes: of the files that it names.
        schema: what its columns mean.
        lines: of the valid rows; None: all are valid.
        readings: of its columns.
    """
    layout = schema.layout
    modalities = {name: [modality.kind, modality.columns] for name, modality in layout.modalities.items()}
    orders = {name: list(order) for name, order in schema.orders.items() if order is not None}
    formats = {name: f"{reading.kind} {reading.format}" for name, reading in readings.items() if reading.kind}
    parts = [
        content,
        sorted(sizes.items()),
        modalities,
        schema.tasks,
        layout.id,
        layout.group,
        [] if lines is None else lines.tolist(),
        *([orders] if orders else []),
        *([formats] if formats else []),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
