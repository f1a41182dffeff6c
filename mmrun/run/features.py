"""Which features a stage of a run reads in place of inputs, and where they are kept."""

import hashlib
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from mmrun.run.session import Session
from mmrun.training import reuse
from mmrun.training.budget import StageBudget
from mmrun.training.engine import Learner
from mmrun.training.features import FeatureColumn, open_features, readable, size
from mmrun.training.grad_accumulation import split
from mmrun.training.stages import Stage
from mmrun.types import Batch, Encoder

TRIED = 32  # rows of a batch on which it is tried
NUMERIC = ("channels_last", "tf32", "deterministic")  # keys of the trainer that change an encoder's last bits


def columns(
    session: Session,
    stage: Stage,
    learner: Learner,
    batch: Batch,
    heads: list[str],
    allowance: StageBudget,
    alive: Callable[[], None],
) -> dict[str, FeatureColumn]:
    """Give the features that a stage reads in place of inputs, by modality: computed now, or by an earlier run."""
    config = session.config
    reads = usable(session, stage, learner, batch, heads, allowance)
    rows = read_by(session, stage)
    folder = Path(config.cache).expanduser() / "features"
    folder.mkdir(parents=True, exist_ok=True)
    found, new = {}, False
    for modality, parts in reads.items():
        kept = folder / _key(session, modality, rows, parts)
        needed = size(rows, parts)
        if not kept.is_dir() and needed > min(config.cache_limit * 1e9, shutil.disk_usage(folder).free):
            session.watch.note(f"{stage.name}: features of {modality} would take {_bytes(needed)}; they are not kept")
            continue
        new = new or not kept.is_dir()
        encoder = cast(Encoder, session.model.encoder[modality])
        column, batch_size = session.columns[modality], config.trainer.eval_batch_size
        found[modality] = open_features(
            encoder, modality, column, rows, parts, kept, batch_size, session.accelerator, alive
        )
    if found:
        taken = sum(size(rows, reads[modality]) for modality in found)
        when = "once" if new else "by an earlier run"
        about = f"{len(rows)} rows, {_bytes(taken)}"
        session.watch.note(f"{stage.name}: features of {', '.join(found)} computed {when} ({about})")
    return found


def usable(
    session: Session, stage: Stage, learner: Learner, batch: Batch, heads: list[str], allowance: StageBudget
) -> dict[str, dict[str, Tensor]]:
    """Tell of which modalities features will do, and which of their parts, those of some of the batch's rows.

    They pay where training rows are read more than once. That depends on the config alone, not on what an earlier run
    left, and a budget of seconds does not tell: so the same run gives the same bits. `heads`: what validation looks at,
    the loss where there are none.
    """
    config = session.config
    once = math.ceil(len(session.data.rows[stage.config.rows]) / config.trainer.batch_size)  # in steps
    if not config.trainer.cache_features or config.trainer.fsdp or allowance.steps is None or allowance.steps <= once:
        return {}
    piece = split(batch, -(-len(batch.index) // TRIED))[0]
    return readable(learner, piece, heads, session.accelerator)


def read_by(session: Session, stage: Stage) -> np.ndarray:
    """Give the rows that a stage reads, each once, ascending: those it learns from and those of validation."""
    return np.union1d(session.data.rows[stage.config.rows], session.data.rows["val"])


def cost(found: dict[str, FeatureColumn], rows: np.ndarray, flops: float) -> dict[str, Any]:
    """Give what the features of the rows learned from cost, whoever computed them; `flops` are those of one row.

    Evaluation is not charged anywhere, and so not the share of the rows of validation.
    """
    number = len(np.unique(rows))
    seconds = sum(column.meta["seconds"] * number / len(column.rows) for column in found.values())
    return {"of": list(found), "rows": number, "seconds": seconds, "flops": flops * number}


def _key(session: Session, modality: str, rows: np.ndarray, parts: dict[str, Tensor]) -> str:
    """Give the name of some features: a hash of all that decides their bits."""
    config = session.config
    determinants: dict[str, Any] = {
        "encoder": [config.encoder[modality], config.strategy.adapt],
        "weights": reuse.digest(session.model.encoder[modality].state_dict()),
        "column": session.columns[modality].name,
        "rows": hashlib.sha256(rows.tobytes()).hexdigest(),
        "parts": {name: str(part.dtype) for name, part in parts.items()},
        "trainer": {key: getattr(config.trainer, key) for key in ("eval_batch_size", "precision", *NUMERIC)},
        "device": session.accelerator.device.type,
    }
    return reuse.key(determinants)


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
