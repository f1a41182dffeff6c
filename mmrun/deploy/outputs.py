"""Predictions as a table: names of classes, probabilities and embeddings, written as they come."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from mmrun.deploy.predictor import Block
from mmrun.errors import ConfigError
from mmrun.results.csv import escape_formula
from mmrun.results.files import to_json_value
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression
from mmrun.types import Task

EMBEDDING = "embedding"
FORMATS = {".csv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}  # by the suffix of a file

Columns = Mapping[str, Sequence[object]]  # by name, one value per row


def build_columns(
    tasks: Mapping[str, Task], ids: Sequence[str], block: Block, with_embeddings: bool = False
) -> dict[str, Sequence[object]]:
    """Return the outputs for some rows as columns.

    Args:
        tasks: of the run, by name.
        ids: of all rows.
        block: outputs for some of them.
        with_embeddings: add the fused vectors, a list in each row.

    Returns:
        `id`; per task its prediction, and the probability of each class or label; `embedding`.
    """
    columns: dict[str, Sequence[object]] = {"id": [ids[row] for row in block.rows.tolist()]}
    for name, task in tasks.items():
        columns.update(_name_outputs(name, task, block.scores[name]))
    if with_embeddings:
        columns[EMBEDDING] = block.embeddings.tolist()
    return columns


def _name_outputs(name: str, task: Task, scores: np.ndarray) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield the columns of a task: its prediction, then the probability of each class or label."""
    if isinstance(task, Regression):
        yield from zip(task.outputs, scores.T.tolist(), strict=True)
        return
    if isinstance(task, Classification):
        names = task.classes
        yield name, [names[number] for number in scores.argmax(1)]
    if isinstance(task, Multilabel):
        names = task.labels
        yield name, [join_labels(names, is_positive) for is_positive in scores >= 0.5]
    for label, column in zip(names, scores.T.tolist(), strict=True):
        yield f"{name}={label}", column


def join_labels(names: Sequence[str], is_positive: np.ndarray) -> str:
    """Return the labels that a row has, as a cell of a file holds them.

    Args:
        names: of all labels.
        is_positive: which of them the row has [C].
    """
    return "|".join(label for label, positive in zip(names, is_positive, strict=True) if positive)


class Writer(Protocol):
    """Writes the columns of one block of rows after the other."""

    def write(self, columns: Columns) -> None:
        """Append rows.

        Args:
            columns: the same names at every call.
        """
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class CsvWriter:
    """Writes CSV; an embedding becomes a column for each number, and formulas are escaped.

    Args:
        stream: to write to.

    Attributes:
        num_escaped: cells that a spreadsheet would run, and that begin with an apostrophe now.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._has_header = False
        self.num_escaped = 0

    def write(self, columns: Columns) -> None:
        """Append rows.

        Args:
            columns: the same names at every call.
        """
        flat = dict(columns)
        vectors = flat.pop(EMBEDDING, None)
        if vectors is not None:
            for number, values in enumerate(zip(*vectors, strict=True)):
                flat[f"{EMBEDDING}_{number}"] = values
        if not self._has_header:
            self._writer.writerow(map(escape_formula, flat))
            self._has_header = True
        for row in zip(*flat.values(), strict=True):
            escaped = [_format_cell(cell) for cell in row]
            self.num_escaped += sum(_is_formula(cell) for cell in row)
            self._writer.writerow(escaped)

    def close(self) -> None:
        """Do nothing: every row is written."""


def _is_formula(cell: object) -> bool:
    return escape_formula(cell) is not cell


def _format_cell(cell: object) -> object:
    """Return a cell of a CSV file; nine digits tell any two float32 apart."""
    return f"{cell:.9g}" if isinstance(cell, float) else escape_formula(cell)


class JsonWriter:
    """Writes one JSON object per row; a number that is not finite is null.

    Args:
        stream: to write to.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, columns: Columns) -> None:
        """Append rows.

        Args:
            columns: the same names at every call.
        """
        for row in zip(*columns.values(), strict=True):
            record = to_json_value(dict(zip(columns, row, strict=True)))
            self._stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")

    def close(self) -> None:
        """Do nothing: every row is written."""


class ParquetWriter:
    """Writes Parquet.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def write(self, columns: Columns) -> None:
        """Append rows.

        Args:
            columns: the same names at every call.
        """
        import pyarrow
        from pyarrow import parquet

        table: pyarrow.Table = pyarrow.table({name: list(values) for name, values in columns.items()})
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()


def choose_format(path: Path | None, name: str | None) -> str:
    """Return the format of a file of predictions: csv, json or parquet.

    Args:
        path: of the file; None: stdout.
        name: that the user asked for; None: the suffix decides, CSV on stdout.

    Raises:
        ConfigError: neither says which, or Parquet is to go to stdout.
    """
    if name is None and path is not None:
        name = FORMATS.get(path.suffix.lower())
        if name is None:
            raise ConfigError(f"-o {path}: end the name in {', '.join(FORMATS)}, or add --format csv|json|parquet")
    if name == "parquet" and path is None:
        raise ConfigError("--format parquet: a terminal cannot show it; add -o FILE.parquet")
    return name or "csv"
