"""The predictions of a run, predictions/<split>.parquet: written and read here alone."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmrun.errors import DamagedError, DataError
from mmrun.head import FUSED, Head
from mmrun.results.files import write_atomically
from mmrun.results.folder import RunFolder
from mmrun.results.schema import RunMetrics

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet


class StoredPredictions(NamedTuple):
    """What one head predicted for the rows of a split, for one task.

    Attributes:
        ids: of the rows [N].
        scores: [N, C]: probabilities, or numbers in the target's own unit.
        target: [N] classes or numbers, or [N, C].
    """

    ids: list[str]
    scores: np.ndarray
    target: np.ndarray


def write_predictions(
    run: RunFolder, split: str, ids: Sequence[str], targets: Mapping[str, np.ndarray], scores: Mapping[str, np.ndarray]
) -> None:
    """Write a table with the columns id, `<task>.target` and `<output>.scores` (lists).

    Args:
        run: its folder.
        split: names the file.
        ids: of the rows [N].
        targets: by task, [N] or [N, C].
        scores: by task, or task/modality for a probe, [N, C].
    """
    import pyarrow
    from pyarrow import parquet

    columns = {"id": list(ids)}
    columns |= {f"{task}.target": values.tolist() for task, values in targets.items()}
    columns |= {f"{output}.scores": values.tolist() for output, values in scores.items()}
    run.predictions.mkdir(exist_ok=True)
    table = pyarrow.table(columns)
    write_atomically(run.predictions / f"{split}.parquet", lambda path: parquet.write_table(table, path))


def list_tasks(run: RunFolder, split: str) -> list[str]:
    """Return the tasks whose predictions are stored.

    Raises:
        DataError: the run stored no predictions of this split.
        DamagedError: the file is not what was written.
    """
    names = _open_parquet(run, split).schema_arrow.names
    return [name.removesuffix(".target") for name in names if name.endswith(".target")]


def parse_primary_head(metrics: RunMetrics) -> Head:
    """Return the head that represents a run.

    Raises:
        DamagedError: there is none.
    """
    name = metrics["primary_head"]
    if name is None:
        raise DamagedError(f"{metrics['run']}: metrics.json is damaged, predictions are stored without a primary head")
    return Head.parse(name)


def check_predictions(run: RunFolder, metrics: RunMetrics) -> None:
    """Check that the predictions of a run can be read, and that its metrics have the same tasks.

    Args:
        run: its folder.
        metrics: what its metrics.json holds.

    Raises:
        DamagedError: they do not fit each other, or a file is not what was written.
    """
    for split in metrics["metrics"]:
        if not (run.predictions / f"{split}.parquet").exists():
            continue
        parse_primary_head(metrics)
        for task in list_tasks(run, split):
            if task not in metrics["per_class"].get(split, {}):
                raise DamagedError(f"{run.metrics_file}: damaged, {split} has predictions but no metrics of {task}")


def read_predictions(run: RunFolder, split: str, task: str, head: Head = FUSED) -> StoredPredictions:
    """Read what a head predicted for the rows of a split, in the order in which they were written.

    Args:
        run: its folder.
        split: val or test.
        task: one of `list_tasks`.
        head: one that the run trained.

    Raises:
        DataError: the run stored no predictions of this split.
        DamagedError: the file is not what was written.
    """
    scores, target = f"{head.qualify(task)}.scores", f"{task}.target"
    file = _open_parquet(run, split)
    try:
        table = file.read(columns=["id", target, scores])
        ids: list[str] = table["id"].to_pylist()
        return StoredPredictions(ids, _to_array(table[scores]).astype(np.float32), _to_array(table[target]))
    except (OSError, ValueError, KeyError) as error:  # of version 0.1.0, which has no digests
        raise _damaged(run, split, error) from None


def _open_parquet(run: RunFolder, split: str) -> "parquet.ParquetFile":
    """Open the predictions of a split, after their digest is checked."""
    from pyarrow import parquet

    file = run.predictions / f"{split}.parquet"
    run.verify(file)
    if not file.exists():
        raise DataError(f"{file}: no such file; the run stored no predictions of the {split} rows")
    try:
        return parquet.ParquetFile(file)
    except (OSError, ValueError) as error:
        raise _damaged(run, split, error) from None


def _damaged(run: RunFolder, split: str, error: Exception) -> DamagedError:
    reason = str(error).splitlines()[0]
    mend = f"remove {run.metrics_file}, then mmrun resume {run.path} writes both again"
    return DamagedError(f"{run.predictions / split}.parquet: damaged ({reason}); {mend}")


def _to_array(column: "pyarrow.ChunkedArray") -> np.ndarray:
    """Convert a column of numbers to [N], or of equally long lists to [N, C]."""
    from pyarrow import types

    values = column.combine_chunks()
    return np.asarray(values.flatten()).reshape(len(values), -1) if types.is_list(values.type) else np.asarray(values)
