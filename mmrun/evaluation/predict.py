"""What a finished run says of new rows: a file with the columns of the one it was trained on, targets not needed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mmrun.config import LABELS
from mmrun.data import cells
from mmrun.data.infer import Modality
from mmrun.data.loader import Loader
from mmrun.data.sources import manifest
from mmrun.data.store import MappedColumn, PreprocessedColumn, open_column
from mmrun.data.table import Column
from mmrun.data.table_file import Sheet, read_sheet
from mmrun.errors import ConfigError
from mmrun.evaluation.subgroups import MANIFEST
from mmrun.head import Head
from mmrun.run.session import Session
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression
from mmrun.types import Task


class Predicted(NamedTuple):
    """One named column for each thing that is said of the rows."""

    columns: dict[str, list[Any]]
    absent: list[str]  # modalities of which the file has nothing


def predict(session: Session, file: Path, root: Path | None = None) -> Predicted:
    """Predict every row of a file; file names in it start from `root`, or from the file's own folder.

    Modalities of which the file has no column, or no cell, count as absent.
    """
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; name one with the columns of the run's own data")
    sheet = read_sheet(file)
    preprocessed = _columns(session, sheet, file.parent if root is None else root)
    size = session.config.trainer.eval_batch_size
    loader = Loader(preprocessed, {}, np.arange(len(sheet.lines)), size, device=session.accelerator.device)
    name_of_head = session.folder.read_metrics()["primary_head"]
    if name_of_head is None:
        raise ConfigError(f"{session.folder.name}: its strategy trains no head, so it predicts nothing")
    modality = Head.parse(name_of_head).modality
    outputs: dict[str, list[torch.Tensor]] = {name: [] for name in session.data.tasks}
    with torch.no_grad(), session.accelerator.autocast():
        for batch in loader.ordered():
            by_task = session.model(batch) if modality is None else session.model.unimodal(batch, modality)
            for name, output in by_task.items():
                outputs[name].append(session.data.tasks[name].scores(output).cpu())
    said: dict[str, list[Any]] = {"id": _ids(session.config.dataset, sheet)}
    for name, task in session.data.tasks.items():
        said.update(_in_words(name, task, torch.cat(outputs[name]).numpy()))
    return Predicted(said, [modality for modality, column in preprocessed.items() if not column.present.any()])


def _columns(session: Session, sheet: Sheet, root: Path) -> dict[str, PreprocessedColumn]:
    """Decode the modalities as they were decoded for training."""
    dataset = session.config.dataset
    if dataset["_target_"] != MANIFEST:
        raise ConfigError(
            f"{session.folder.name}: was not trained on a file of rows, so it cannot predict another file"
        )
    arguments = {key: value for key, value in dataset.items() if key not in ("_target_", *LABELS)}
    layout = {m: one for m, one in manifest.look(**arguments).items() if m in session.columns}
    rows = cells.Rows(sheet, "raise")
    files = cells.Files(root, dataset["allow_outside"])
    values = {m: cells.values(rows, one, files) for m, one in layout.items() if _has(sheet, m, one)}
    if not values:
        wanted = ", ".join(column for one in layout.values() for column in one.columns)
        raise ConfigError(f"{sheet.name}: has none of the columns that the run reads ({wanted})")
    rows.need_one_of(values)
    preprocessed: dict[str, PreprocessedColumn] = {}
    for modality, one in layout.items():
        if modality in values and any(value is not None for value in values[modality]):
            column = Column(one.kind, values[modality], sheet.places(one.columns))
            cache = Path(session.config.cache).expanduser() / "columns"
            preprocessed[modality] = open_column(column, session.data.preprocessors[modality], "predict", cache, 0)
        else:
            preprocessed[modality] = _absent(session.columns[modality], len(sheet.lines))
    return preprocessed


def _has(sheet: Sheet, modality: str, one: Modality) -> bool:
    """Return whether the file has the modality; a part of its columns is no use."""
    there = [column for column in one.columns if column in sheet.columns]
    if there and len(there) < len(one.columns):
        lacking = ", ".join(column for column in one.columns if column not in there)
        raise ConfigError(
            f"{sheet.name}: of '{modality}' the columns {lacking} are not there; add them, or take out all"
        )
    return bool(there)


def _absent(like: PreprocessedColumn, num_rows: int) -> MappedColumn:
    """Make a column in which every row is missing."""
    parts = like.gather(torch.zeros(1, dtype=torch.int64))
    blank = {name: torch.zeros_like(part).expand(num_rows, *part.shape[1:]) for name, part in parts.items()}
    return MappedColumn(blank, np.zeros(num_rows, dtype=bool), {})


def _ids(dataset: Mapping[str, Any], sheet: Sheet) -> list[str]:
    named = sheet.columns[dataset["id"]] if dataset["id"] in sheet.columns else [None] * len(sheet.lines)
    return [place if cell is None else str(cell) for cell, place in zip(named, sheet.places(), strict=True)]


def _in_words(name: str, task: Task, scores: np.ndarray) -> Iterator[tuple[str, list[Any]]]:
    """Return the columns of a task: its answer, then the probability of each class or label."""
    if isinstance(task, Regression):
        yield from zip(task.outputs, scores.T.tolist(), strict=True)
        return
    if isinstance(task, Classification):
        names = task.classes
        yield name, [names[number] for number in scores.argmax(1)]
    if isinstance(task, Multilabel):
        names = task.labels
        yield name, ["|".join(label for label, on in zip(names, row, strict=True) if on) for row in scores >= 0.5]
    for label, column in zip(names, scores.T.round(6).tolist(), strict=True):
        yield f"{name}={label}", column
