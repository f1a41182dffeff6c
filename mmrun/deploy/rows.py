"""Reads new rows from a user's file, as a run reads its training file. Targets are not needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mmrun.data import cells
from mmrun.data.align.options import parse_alignments
from mmrun.data.align.rows import read_modality
from mmrun.data.file_resolver import FileResolver
from mmrun.data.folders.recognize import open_path
from mmrun.data.folders.root import choose_root
from mmrun.data.infer import Modality, require_column
from mmrun.data.preprocess.items import Items
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.sheets.formats import format_from_json
from mmrun.data.sheets.readings import apply_readings
from mmrun.data.sheets.sheet import Reading, Sheet
from mmrun.data.table import Column
from mmrun.errors import ConfigError

if TYPE_CHECKING:
    from mmrun.results.schema import FittedModality
    from mmrun.types import Preprocessor  # this module is copied beside exported models, where there is no torch


class RowSpec(Protocol):
    """What reading rows needs to know of a run; a `Predictor` has it."""

    @property
    def name(self) -> str:
        """Of the run."""

    @property
    def modalities(self) -> Mapping[str, "FittedModality"]:
        """How each modality is read, by name."""

    @property
    def formats(self) -> Mapping[str, Mapping[str, Any]]:
        """How numbers and dates are written, by column; only of columns that are not plain."""

    @property
    def preprocessors(self) -> Mapping[str, "Preprocessor"]:
        """Fitted to the training rows, by modality."""

    @property
    def dataset(self) -> Mapping[str, Any]:
        """Of the config: `id`, `encoding`, `allow_outside`, `align` and `layout`."""


@dataclass(frozen=True)
class Rows:
    """New rows, before they are decoded.

    Attributes:
        ids: names of the rows [N].
        columns: raw values of the modalities that the rows have.
    """

    ids: Sequence[str]
    columns: Mapping[str, Column]


@dataclass(frozen=True)
class SheetRows:
    """The rows of a file, or of a data frame.

    Attributes:
        rows: to predict.
        sheet: all columns, targets too.
        numbers: of the rows in the sheet [N]; bad ones are left out.
        skipped: "file:line: reason" of each row that was left out.
        missing_modalities: modalities that no row has.
        notes: what in the file differs from the training rows, one line each.
    """

    rows: Rows
    sheet: Sheet
    numbers: np.ndarray
    skipped: list[str]
    missing_modalities: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_rows(run: RowSpec, file: Path, root: Path | None = None, on_error: str = "raise") -> SheetRows:
    """Read the rows of a file.

    Args:
        run: that reads them.
        file: a table, or a folder or an archive that a run could be trained on. A modality without a column, or without
            a filled cell, counts as missing.
        root: folder that file names in the file start from. By default, the folder of the file.
        on_error: raise | skip: what happens to a bad row.

    Raises:
        ConfigError: there is no such file, or it has no modality, or only a part of the columns of one.
        DataError: a row cannot be read, and `on_error` is raise.
    """
    if not file.exists():
        raise ConfigError(f"{file}: no such file; pass one with the columns that the run was trained on")
    dataset = run.dataset
    opened = open_path(str(file), encoding=dataset.get("encoding"))
    sheet = read_as_trained(run, opened.sheet, _list_columns(run))
    reader = cells.RowReader(sheet, on_error)
    folder, root_notes = choose_root(opened, _list_columns(run), root)
    files = FileResolver(folder, dataset.get("allow_outside", False), "--root FOLDER")
    alignments = parse_alignments(dataset.get("align"))
    raw: dict[str, cells.RawValues] = {}
    align_notes: list[str] = []
    for modality, spec in run.modalities.items():
        columns = name_columns(run, modality, spec)
        if not _has_modality(sheet, modality, columns):
            continue
        if modality in alignments:
            require_column(sheet, alignments[modality].time, f"dataset.align.{modality}.time")
        source = Modality(spec["kind"], columns, "the run")
        read = read_modality(reader, modality, source, files, alignments, dataset.get("layout") or {})
        raw[modality] = read.values
        align_notes += read.warnings
        if not isinstance(run.preprocessors[modality], Items):
            reader.require_single_items(columns[0], raw[modality])
    if not raw:
        columns_read = ", ".join(_list_columns(run))
        raise ConfigError(f"{sheet.name}: has none of the columns that the run reads ({columns_read})")
    reader.require_any_modality(raw, has_times=bool(alignments))
    numbers = reader.select_valid_rows()
    table: dict[str, Column] = {}
    for modality, values in raw.items():
        spec = run.modalities[modality]
        locations = sheet.locate_rows(name_columns(run, modality, spec)).take(numbers)
        table[modality] = Column(spec["kind"], values.take(numbers), locations)
    ids = _read_ids(dataset, sheet)
    rows = Rows([ids[row] for row in numbers.tolist()], table)
    notes = [*opened.notes, *root_notes, *align_notes, *describe_new(run, rows)]
    return SheetRows(rows, sheet, numbers, reader.skipped, list_missing(run, rows), notes)


def read_as_trained(run: RowSpec, sheet: Sheet, columns: Sequence[str]) -> Sheet:
    """Read numbers and dates of some columns as they were read for training, where these were not written plainly.

    Args:
        run: that reads them.
        sheet: new rows.
        columns: names; those that the rows do not have are ignored.
    """
    formats = run.formats
    readings = {name: Reading("", format_from_json(formats[name])) for name in columns if name in formats}
    return apply_readings(sheet, readings)


def name_columns(run: RowSpec, modality: str, spec: "FittedModality") -> list[str]:
    """Return the columns of a file that a modality is read from; without a file in training, one of its own name.

    Raises:
        ConfigError: the run was not trained on a file, and the modality is a record of cells.
    """
    if spec["columns"]:
        return spec["columns"]
    if spec["kind"] == "tabular":
        raise ConfigError(
            f"{run.name}: was not trained on dataset=manifest, so the columns of '{modality}' are not known"
        )
    return [modality]


def _list_columns(run: RowSpec) -> list[str]:
    names: list[str] = []
    for modality, spec in run.modalities.items():
        names += name_columns(run, modality, spec)
    return names


def _has_modality(sheet: Sheet, modality: str, columns: Sequence[str]) -> bool:
    """Return whether the file has all columns of a modality; raise an error if it has only some of them."""
    missing = [column for column in columns if column not in sheet.columns]
    if missing and len(missing) < len(columns):
        raise ConfigError(
            f"{sheet.name}: has only some of the columns of '{modality}', not {', '.join(missing)}; "
            "add these, or remove the others"
        )
    return not missing


def list_missing(run: RowSpec, rows: Rows) -> list[str]:
    """Return the modalities that no row has."""
    present = {modality for modality, column in rows.columns.items() if column.is_present().any()}
    return [modality for modality in run.modalities if modality not in present]


def describe_new(run: RowSpec, rows: Rows) -> list[str]:
    """Describe categories that no training row has, one line each."""
    notes = []
    for modality, column in rows.columns.items():
        preprocessor = run.preprocessors[modality]
        if isinstance(preprocessor, Cells):
            notes += [f"{modality}: {note}" for note in preprocessor.describe_new(column)]
    return notes


def _read_ids(dataset: Mapping[str, Any], sheet: Sheet) -> list[str]:
    """Return the id of each row; where it has none, its place in the file."""
    places = sheet.locate_rows()
    name = dataset.get("id")
    if name is None or name not in sheet.columns:
        return list(places)
    return [place if cell is None else str(cell) for cell, place in zip(sheet.columns[name], places, strict=True)]
