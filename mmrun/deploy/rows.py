"""Reads new rows from a user's file, as a run reads its training file. Targets are not needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.data import cells
from mmrun.data.file_resolver import FileResolver
from mmrun.data.folders.recognize import open_path
from mmrun.data.folders.root import choose_root
from mmrun.data.infer import Modality
from mmrun.data.preprocess.items import Items
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.sheets.formats import format_from_json
from mmrun.data.sheets.readings import apply_readings
from mmrun.data.sheets.sheet import Reading, Sheet
from mmrun.data.table import Column
from mmrun.deploy.predictor import Predictor, Rows
from mmrun.errors import ConfigError
from mmrun.results.schema import FittedModality


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


def read_rows(predictor: Predictor, file: Path, root: Path | None = None, on_error: str = "raise") -> SheetRows:
    """Read the rows of a file.

    Args:
        predictor: of the run that reads them.
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
    dataset = predictor.config.dataset
    opened = open_path(str(file), encoding=dataset.get("encoding"))
    sheet = read_as_trained(predictor, opened.sheet, _list_columns(predictor))
    reader = cells.RowReader(sheet, on_error)
    folder, root_notes = (root, []) if root else choose_root(opened, _list_columns(predictor))
    files = FileResolver(folder, dataset.get("allow_outside", False), "--root FOLDER")
    raw: dict[str, cells.RawValues] = {}
    for modality, spec in predictor.modalities.items():
        columns = name_columns(predictor, modality, spec)
        if _has_modality(sheet, modality, columns):
            raw[modality] = cells.read_values(reader, Modality(spec["kind"], columns, "the run"), files)
            if not isinstance(predictor.fitted.preprocessors[modality], Items):
                reader.require_single_items(columns[0], raw[modality])
    if not raw:
        columns_read = ", ".join(_list_columns(predictor))
        raise ConfigError(f"{sheet.name}: has none of the columns that the run reads ({columns_read})")
    reader.require_any_modality(raw)
    numbers = reader.select_valid_rows()
    table: dict[str, Column] = {}
    for modality, values in raw.items():
        spec = predictor.modalities[modality]
        locations = sheet.locate_rows(name_columns(predictor, modality, spec)).take(numbers)
        table[modality] = Column(spec["kind"], values.take(numbers), locations)
    ids = _read_ids(dataset, sheet)
    rows = Rows([ids[row] for row in numbers.tolist()], table)
    notes = [*opened.notes, *root_notes, *describe_new(predictor, rows)]
    return SheetRows(rows, sheet, numbers, reader.skipped, list_missing(predictor, rows), notes)


def read_as_trained(predictor: Predictor, sheet: Sheet, columns: Sequence[str]) -> Sheet:
    """Read numbers and dates of some columns as they were read for training, where these were not written plainly.

    Args:
        predictor: of the run.
        sheet: new rows.
        columns: names; those that the rows do not have are ignored.
    """
    formats = predictor.record["formats"]
    readings = {name: Reading("", format_from_json(formats[name])) for name in columns if name in formats}
    return apply_readings(sheet, readings)


def name_columns(predictor: Predictor, modality: str, spec: FittedModality) -> list[str]:
    """Return the columns of a file that a modality is read from; without a file in training, one of its own name.

    Args:
        predictor: of the run.
        modality: its name.
        spec: how it is read.

    Raises:
        ConfigError: the run was not trained on a file, and the modality is a record of cells.
    """
    if spec["columns"]:
        return spec["columns"]
    if spec["kind"] == "tabular":
        raise ConfigError(
            f"{predictor.name}: was not trained on dataset=manifest, so the columns of '{modality}' are not known"
        )
    return [modality]


def _list_columns(predictor: Predictor) -> list[str]:
    names: list[str] = []
    for modality, spec in predictor.modalities.items():
        names += name_columns(predictor, modality, spec)
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


def list_missing(predictor: Predictor, rows: Rows) -> list[str]:
    """Return the modalities that no row has.

    Args:
        predictor: of the run.
        rows: to predict.
    """
    present = {modality for modality, column in rows.columns.items() if column.is_present().any()}
    return [modality for modality in predictor.modalities if modality not in present]


def describe_new(predictor: Predictor, rows: Rows) -> list[str]:
    """Describe categories that no training row has, one line each.

    Args:
        predictor: of the run.
        rows: to predict.
    """
    notes = []
    for modality, column in rows.columns.items():
        preprocessor = predictor.fitted.preprocessors[modality]
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
