"""What a run folder keeps of a model's answers: predictions/<split>.parquet, read here alone."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mmrun.errors import DataError
from mmrun.head import FUSED, Head
from mmrun.results.folder import RunFolder


class StoredPredictions(NamedTuple):
    """What one head said about the rows of a split, for one task."""

    ids: list[str]
    scores: np.ndarray  # [N, C]
    target: np.ndarray  # [N] classes or numbers, or [N, C]


def tasks_of(run: RunFolder, split: str) -> list[str]:
    """Return the tasks of which predictions are stored."""
    from pyarrow import parquet

    file = run.predictions / f"{split}.parquet"
    if not file.exists():
        raise DataError(f"{file}: no such file; the run stored no predictions of the {split} rows")
    names = parquet.read_schema(file).names
    return [name.removesuffix(".target") for name in names if name.endswith(".target")]


def primary_head(metrics: Mapping[str, Any]) -> Head:
    """Return the head that represents a run."""
    return Head.parse(metrics["primary_head"])


def stored(run: RunFolder, split: str, task: str, head: Head = FUSED) -> StoredPredictions:
    """Read what a head said about the rows of a split, in order."""
    from pyarrow import parquet

    scores, target = f"{head.qualify(task)}.scores", f"{task}.target"
    table = parquet.read_table(run.predictions / f"{split}.parquet", columns=["id", target, scores])
    return StoredPredictions(table["id"].to_pylist(), _array(table[scores]).astype(np.float32), _array(table[target]))


def _array(column: Any) -> np.ndarray:
    """Return a column of numbers, or of lists that are equally long."""
    from pyarrow import types

    values = column.combine_chunks()
    return np.asarray(values.flatten()).reshape(len(values), -1) if types.is_list(values.type) else np.asarray(values)
