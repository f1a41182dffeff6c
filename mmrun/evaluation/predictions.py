"""What a run folder keeps of a model's answers."""

from typing import NamedTuple

import numpy as np

from mmrun.runs.folder import RunFolder


class Answers(NamedTuple):
    """The rows of a split, in order, as one task's fused head saw them."""

    ids: list[str]
    scores: np.ndarray  # [N, C]
    target: np.ndarray  # [N] or [N, C]


def stored(folder: RunFolder, split: str, task: str) -> Answers:
    """Read the stored predictions of a task."""
    from pyarrow import parquet

    table = parquet.read_table(folder.predictions / f"{split}.parquet")
    scores, target = (np.array(table[f"{task}.{what}"].to_pylist()) for what in ("scores", "target"))
    return Answers(table["id"].to_pylist(), scores.astype(np.float32), target)
