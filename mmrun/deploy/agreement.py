"""Compares an exported model with its run, row by row."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmrun.config import RunConfig
from mmrun.data.length_groups import crop_padding
from mmrun.data.store import MappedColumn
from mmrun.deploy.graph import EMBEDDING, SCORES, Inputs, name_inputs
from mmrun.deploy.labelled import read_targets
from mmrun.deploy.predictor import Predictor, Rows
from mmrun.deploy.rows import read_rows
from mmrun.deploy.run_models import RunModel
from mmrun.deploy.synthetic import make_rows
from mmrun.errors import DataError, MmrunError
from mmrun.run.data import open_file_digests, open_table
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.types import Task

MAX_ROWS = 256
NUM_SYNTHETIC = 16
BATCH_SIZE = 32
NUM_SINGLE = 4  # rows that are also predicted one by one

Columns = dict[str, MappedColumn]


class Agreement(NamedTuple):
    """How far an exported model is from its run.

    Attributes:
        difference: the largest of all outputs, relative to the largest absolute value of that output if it is above 1.
        where: the output and the case of this difference.
        num_labels: predicted classes and sets of labels that were compared.
        num_equal: how many of these are equal.
    """

    difference: float
    where: str
    num_labels: int
    num_equal: int


class CheckedRows(NamedTuple):
    """Rows that an exported model is compared on.

    Attributes:
        rows: before decoding.
        source: what they are, in words.
        note: why they are not the run's own test rows; "" if they are, or if the user chose them.
        targets: of the tasks that the rows have a target of, as the run numbers them, [N] or [N, C].
    """

    rows: Rows
    source: str
    note: str = ""
    targets: Mapping[str, np.ndarray] = MappingProxyType({})


class Case(NamedTuple):
    """A way of predicting the rows.

    Attributes:
        name: for messages.
        columns: decoded rows.
        num_rows: that are predicted, from the first.
        batch_size: rows per batch.
        is_cropped: whether padding that all texts of a batch share is cropped.
    """

    name: str
    columns: Columns
    num_rows: int
    batch_size: int
    is_cropped: bool = False


def choose_rows(predictor: Predictor, file: Path | None, max_rows: int | None = MAX_ROWS) -> CheckedRows:
    """Choose rows of a file; without one, the run's test rows if its data is there, else rows of noise.

    Args:
        predictor: of the run.
        file: named by the user; None: none.
        max_rows: how many test rows are read, chosen at random if there are more; None: all.

    Raises:
        ConfigError: the file cannot be read, or no rows can be made.
        DataError: a row of the file cannot be read.
    """
    if file is not None:
        new_rows = read_rows(predictor, file)
        return CheckedRows(new_rows.rows, f"rows of {file}", targets=read_targets(predictor, new_rows).values)
    try:
        return read_split(predictor.config, "test", max_rows)
    except MmrunError as error:
        return CheckedRows(make_rows(predictor, NUM_SYNTHETIC), "rows of noise", f"its data is not there ({error})")


def read_split(config: RunConfig, split: str, max_rows: int | None) -> CheckedRows:
    """Read rows of the data that a run was trained on.

    Args:
        config: of the run.
        split: train | val | test.
        max_rows: how many are read, chosen at random if there are more; None: all.

    Raises:
        MmrunError: the data is not there, or is not what it was.
    """
    table = open_table(config, open_file_digests(config))
    rows = table.rows(split)
    if max_rows is not None and len(rows) > max_rows:
        rows = np.sort(np.random.default_rng(0).choice(rows, max_rows, replace=False))
    columns = {}
    for modality in config.encoder:
        column = table.columns[modality]
        locations = [column.locate(row) for row in rows.tolist()]
        columns[modality] = type(column)(column.kind, [column.values[row] for row in rows.tolist()], locations)
    targets = {name: target.values[rows] for name, target in table.targets.items()}
    return CheckedRows(Rows([table.ids[row] for row in rows.tolist()], columns), f"{split} rows", targets=targets)


def measure_agreement(predictor: Predictor, run_model: RunModel, rows: Rows, can_crop: bool) -> Agreement:
    """Predict rows with a run and its exported model: in batches, one by one, and without each modality.

    Args:
        predictor: of the run.
        run_model: the exported model.
        rows: of which MAX_ROWS are read.
        can_crop: whether it reads texts of any length, so that cropped ones are tried as well.

    Raises:
        DataError: a row cannot be decoded.
    """
    columns = decode(predictor, rows, MAX_ROWS)
    worst = (0.0, "")
    num_labels = num_equal = 0
    for case in _iterate_cases(columns, can_crop):
        expected = predict(predictor, case)
        actual = run_batches(run_model, case)
        for name, values in expected.items():
            worst = max(worst, (_measure_difference(actual[name], values), f"{name}, {case.name}"))
        for name, task in predictor.tasks.items():
            is_equal = compare_labels(task, actual[f"{SCORES}.{name}"], expected[f"{SCORES}.{name}"])
            num_labels += len(is_equal)
            num_equal += int(is_equal.sum())
    return Agreement(*worst, num_labels, num_equal)


def decode(predictor: Predictor, rows: Rows, max_rows: int) -> Columns:
    """Decode the first rows.

    Args:
        predictor: of the run.
        rows: before decoding.
        max_rows: how many are decoded.

    Raises:
        DataError: a row cannot be decoded.
    """
    columns = predictor.decode(rows, np.arange(min(len(rows.ids), max_rows)))
    for column in columns.values():
        if column.bad:
            raise DataError(column.bad[0])
    return columns


def _measure_difference(actual: np.ndarray, expected: np.ndarray) -> float:
    if not np.isfinite(actual).all():
        return float("inf")
    return float(np.abs(actual - expected).max() / max(1.0, np.abs(expected).max()))


def compare_labels(task: Task, actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return in which rows the predicted class or set of labels is equal [N]; empty for numbers.

    Args:
        task: that was predicted.
        actual: scores [N, C].
        expected: scores [N, C].
    """
    if isinstance(task, Classification):
        return np.asarray(actual.argmax(1) == expected.argmax(1))
    if isinstance(task, Multilabel):
        return np.asarray(((actual >= 0.5) == (expected >= 0.5)).all(1))
    return np.zeros(0, dtype=bool)


def _iterate_cases(columns: Columns, can_crop: bool) -> Iterator[Case]:
    num_rows = len(next(iter(columns.values())).present)
    yield Case(f"in batches of {BATCH_SIZE}", columns, num_rows, BATCH_SIZE)
    yield Case("one by one", columns, min(num_rows, NUM_SINGLE), 1)
    if can_crop:
        yield Case("with cropped texts", columns, num_rows, BATCH_SIZE, is_cropped=True)
    for modality, column in columns.items():
        parts = {name: torch.zeros_like(part) for name, part in column.parts.items()}
        missing = MappedColumn(parts, np.zeros(num_rows, dtype=bool), {})
        yield Case(f"without {modality}", {**columns, modality: missing}, num_rows, BATCH_SIZE)


def predict(predictor: Predictor, case: Case) -> dict[str, np.ndarray]:
    """Return the outputs of a run by name.

    Args:
        predictor: of the run.
        case: which rows.
    """
    scores, embeddings = predictor.compute(case.columns, np.arange(case.num_rows))
    return {EMBEDDING: embeddings, **{f"{SCORES}.{name}": values for name, values in scores.items()}}


def run_batches(run_model: RunModel, case: Case) -> dict[str, np.ndarray]:
    """Return the outputs of an exported model by name.

    Args:
        run_model: the model.
        case: which rows, and how many at once.
    """
    batches = []
    for start in range(0, case.num_rows, case.batch_size):
        rows = torch.arange(start, min(start + case.batch_size, case.num_rows))
        inputs = gather_inputs(case.columns, rows, case.is_cropped)
        batches.append(run_model({name: tensor.numpy() for name, tensor in inputs.items()}))
    return {name: np.concatenate([outputs[name] for outputs in batches]) for name in batches[0]}


def gather_inputs(columns: Columns, rows: Tensor, is_cropped: bool = False) -> Inputs:
    """Return some decoded rows as the inputs of a graph.

    Args:
        columns: by modality.
        rows: their numbers [B].
        is_cropped: whether to crop padding that all texts share.
    """
    parts = {modality: column.gather(rows) for modality, column in columns.items()}
    if is_cropped:
        parts = {name: crop_padding(stored) if "ids" in stored else stored for name, stored in parts.items()}
    return name_inputs(parts, {modality: column.present[rows] for modality, column in columns.items()})
