"""Predictions of a finished run for new rows: a file with the columns of the training data; targets are not needed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mmrun.config import LABELS
from mmrun.data import cells
from mmrun.data.infer import Modality
from mmrun.data.loader import Loader
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.readings import apply_readings
from mmrun.data.sources import manifest
from mmrun.data.store import MappedColumn, PreprocessedColumn, open_column
from mmrun.data.table import Column
from mmrun.data.table_file import Reading, Sheet, read_sheet
from mmrun.errors import ConfigError
from mmrun.evaluation.subgroups import MANIFEST
from mmrun.head import Head
from mmrun.run.session import Session
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression
from mmrun.types import Task


class Predictions(NamedTuple):
    """Predictions for the rows of a file.

    Attributes:
        columns: by name, one value per row: `id`; per task its prediction, and the probability of each class or label.
        missing_modalities: modalities that the file does not have.
        notes: what in the file differs from the training rows, one line each.
    """

    columns: dict[str, Sequence[object]]
    missing_modalities: list[str]
    notes: list[str]


def predict(session: Session, file: Path, root: Path | None = None) -> Predictions:
    """Predict every row of a file.

    Args:
        session: the run, opened again.
        file: CSV, JSON Lines or Parquet. A modality without a column, or without a filled cell, counts as missing.
        root: folder that file names in the file start from. By default, the folder of the file.

    Raises:
        ConfigError: there is no such file, it has none of the modalities or only a part of the columns of one, or the
            run has no head or was not trained on a file.
    """
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; pass one with the columns that the run was trained on")
    sheet = read_sheet(file, encoding=session.config.dataset.get("encoding"))
    notes: list[str] = []
    columns = _preprocess(session, sheet, file.parent if root is None else root, notes)
    scores = _compute_scores(session, columns, len(sheet.lines))
    predictions: dict[str, Sequence[object]] = {"id": _row_ids(session.config.dataset, sheet)}
    for name, task in session.data.tasks.items():
        predictions.update(_output_columns(name, task, scores[name]))
    missing = [modality for modality, column in columns.items() if not column.present.any()]
    return Predictions(predictions, missing, notes)


def _compute_scores(
    session: Session, columns: Mapping[str, PreprocessedColumn], num_rows: int
) -> dict[str, np.ndarray]:  # by task, [N, C]
    """Predict all rows with the primary head."""
    size = session.config.trainer.eval_batch_size
    loader = Loader(columns, {}, np.arange(num_rows), size, device=session.accelerator.device)
    head_name = session.folder.read_metrics()["primary_head"]
    if head_name is None:
        raise ConfigError(f"{session.folder.name}: its strategy trains no head, so it cannot predict")
    modality = Head.parse(head_name).modality
    scores: dict[str, list[torch.Tensor]] = {name: [] for name in session.data.tasks}
    with torch.no_grad(), session.accelerator.autocast():
        for batch in loader.ordered():
            outputs = session.model(batch) if modality is None else session.model.forward_unimodal(batch, modality)
            for name, output in outputs.items():
                scores[name].append(session.data.tasks[name].scores(output).cpu())
    return {name: torch.cat(parts).numpy() for name, parts in scores.items()}


def _preprocess(session: Session, sheet: Sheet, root: Path, notes: list[str]) -> dict[str, PreprocessedColumn]:
    """Decode the modalities as they were decoded for training; add what differs from the training rows to the notes."""
    layout = _read_layout(session)
    sheet = apply_readings(sheet, _select_readings(session, layout))
    rows = cells.RowReader(sheet, "raise")
    values = _read_values(session, sheet, rows, layout, root)
    cache = Path(session.config.cache).expanduser() / "columns"
    preprocessed: dict[str, PreprocessedColumn] = {}
    for modality, spec in layout.items():
        if modality in values and any(value is not None for value in values[modality]):
            column = Column(spec.kind, values[modality], sheet.locate_rows(spec.columns))
            preprocessor = session.data.preprocessors[modality]
            if isinstance(preprocessor, Cells):
                notes.extend(f"{modality}: {note}" for note in preprocessor.describe_new(column))
            preprocessed[modality] = open_column(column, preprocessor, "predict", cache, 0)
        else:
            preprocessed[modality] = _empty_column(session.columns[modality], len(sheet.lines))
    return preprocessed


def _read_layout(session: Session) -> dict[str, Modality]:
    """Return the kind and the columns of each modality in the training data."""
    dataset = session.config.dataset
    if dataset["_target_"] != MANIFEST:
        raise ConfigError(f"{session.folder.name}: was not trained on dataset=manifest, so it cannot predict a file")
    modalities = manifest.infer_modalities(**_get_arguments(dataset))
    return {modality: spec for modality, spec in modalities.items() if modality in session.columns}


def _select_readings(session: Session, layout: Mapping[str, Modality]) -> dict[str, Reading]:
    """Return how the columns that the run reads are read in the training data."""
    used = {column for spec in layout.values() for column in spec.columns}
    readings = manifest.infer_file_readings(**_get_arguments(session.config.dataset))
    return {name: reading for name, reading in readings.items() if name in used}


def _get_arguments(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `manifest` in a node of a config."""
    return {key: value for key, value in dataset.items() if key not in ("_target_", *LABELS)}


def _read_values(
    session: Session, sheet: Sheet, rows: cells.RowReader, layout: Mapping[str, Modality], root: Path
) -> dict[str, Sequence[Any]]:
    """Return the raw values of the modalities that the file has."""
    files = cells.FileResolver(root, session.config.dataset["allow_outside"])
    values: dict[str, Sequence[Any]] = {}
    for modality, spec in layout.items():
        if _has_modality(sheet, modality, spec):
            values[modality] = cells.read_values(rows, spec, files)
    if not values:
        expected: list[str] = []
        for spec in layout.values():
            expected += spec.columns
        raise ConfigError(f"{sheet.name}: has none of the columns that the run reads ({', '.join(expected)})")
    rows.require_any_modality(values)
    return values


def _has_modality(sheet: Sheet, modality: str, spec: Modality) -> bool:
    """Return whether the file has all columns of a modality; raise an error if it has only some of them."""
    missing_columns = [column for column in spec.columns if column not in sheet.columns]
    if missing_columns and len(missing_columns) < len(spec.columns):
        raise ConfigError(
            f"{sheet.name}: has only some of the columns of '{modality}', not {', '.join(missing_columns)}; "
            "add these, or remove the others"
        )
    return not missing_columns


def _empty_column(like: PreprocessedColumn, num_rows: int) -> MappedColumn:
    """Return a column whose every row is missing."""
    parts = like.gather(torch.zeros(1, dtype=torch.int64))
    blank = {name: torch.zeros_like(part).expand(num_rows, *part.shape[1:]) for name, part in parts.items()}
    return MappedColumn(blank, np.zeros(num_rows, dtype=bool), {})


def _row_ids(dataset: Mapping[str, Any], sheet: Sheet) -> list[str]:
    """Return the id of each row; where it has none, its place in the file."""
    places = sheet.locate_rows()
    if dataset["id"] not in sheet.columns:
        return list(places)
    id_cells = sheet.columns[dataset["id"]]
    return [place if cell is None else str(cell) for cell, place in zip(id_cells, places, strict=True)]


def _output_columns(name: str, task: Task, scores: np.ndarray) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield the columns of a task: its prediction, then the probability of each class or label."""
    if isinstance(task, Regression):
        yield from zip(task.outputs, scores.T.tolist(), strict=True)
        return
    if isinstance(task, Classification):
        names = task.classes
        yield name, [names[number] for number in scores.argmax(1)]
    if isinstance(task, Multilabel):
        names = task.labels
        yield name, [_join_labels(names, is_positive) for is_positive in scores >= 0.5]
    for label, column in zip(names, scores.T.round(6).tolist(), strict=True):
        yield f"{name}={label}", column


def _join_labels(names: Sequence[str], is_positive: np.ndarray) -> str:
    return "|".join(label for label, positive in zip(names, is_positive, strict=True) if positive)
