"""Which features a stage reads in place of inputs, and where they are stored."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from torch import Tensor

from mmrun.config import FORWARD, relevant_keys
from mmrun.data.array_files import make_cache_folder
from mmrun.run.session import Session
from mmrun.training import cost, device, reuse
from mmrun.training.built_stage import BuiltStage, FeatureCost
from mmrun.training.features import FeatureColumn, open_features, replaceable_inputs, stored_size
from mmrun.training.grad_accumulation import split
from mmrun.training.stages import Stage
from mmrun.types import Batch, Encoder

TRIAL_ROWS = 32  # rows of a batch on which replacing inputs is tried


def read_features(session: Session, built: BuiltStage, on_batch: Callable[[], None]) -> tuple[Session, BuiltStage]:
    """Replace the inputs that only frozen encoders read by their features, where that pays.

    Args:
        session: the run.
        built: the stage, reading inputs.
        on_batch: called while features are computed, after each batch.

    Returns:
        Session and stage that read features; those passed in where there is nothing to replace.
    """
    batch = built.batches.batch(0)
    columns = _open_columns(session, built, batch, on_batch)
    if not columns:
        return session, built
    session = replace(session, columns=session.columns | columns)
    rows, reads_targets = built.batches.rows, bool(built.batches.targets)
    batches = session.loader(rows, built.batch_size, built.stage.modalities, reads_targets, built.batches.stream)
    flops = cost.flops_per_step(built.learner, batches.typical_batch()) * session.accelerator.num_processes
    flops_per_row = (built.flops_per_step - flops) / built.batch_size
    feature_cost = _feature_cost(columns, batches.rows, flops_per_row)
    return session, replace(built, batches=batches, flops_per_step=flops, feature_cost=feature_cost)


def _open_columns(
    session: Session, built: BuiltStage, batch: Batch, on_batch: Callable[[], None]
) -> dict[str, FeatureColumn]:
    """Return the features that a stage reads, by modality: computed now or by an earlier run."""
    config, stage = session.config, built.stage
    features = replaceable_features(session, built, batch)
    rows = rows_read(session, stage)
    folder = Path(config.cache).expanduser() / "features"
    free = make_cache_folder(folder)
    columns: dict[str, FeatureColumn] = {}
    computed_now, taken = False, 0
    for modality, parts in features.items():
        stored = folder / _feature_key(session, modality, rows, parts)
        needed = stored_size(rows, parts)
        if not stored.is_dir() and needed > min(config.cache_limit * 1e9, free):
            session.callback.on_message(
                f"{stage.name}: features of {modality} would take {_format_bytes(needed)}, so they are not stored"
            )
            continue
        free -= 0 if stored.is_dir() else needed
        computed_now = computed_now or not stored.is_dir()
        taken += needed
        encoder = cast(Encoder, session.model.encoder[modality])
        column, batch_size = session.columns[modality], config.trainer.eval_batch_size
        columns[modality] = open_features(
            encoder, modality, column, rows, parts, stored, batch_size, session.accelerator, on_batch
        )
        for note in columns[modality].notes:
            session.report(stage.name, note)
    if columns:
        when = "computed once" if computed_now else "computed by an earlier run"
        size = f"{len(rows)} rows, {_format_bytes(taken)}"
        session.report(stage.name, f"features of {', '.join(columns)} {when} ({size})")
    return columns


def replaceable_features(session: Session, built: BuiltStage, batch: Batch) -> dict[str, dict[str, Tensor]]:
    """Return the features that can replace inputs, by modality and part, for some rows of a batch.

    They pay where training rows are read more than once. The decision depends on the config alone, not on what an
    earlier run stored, and a budget in seconds cannot decide it: so the same run gives the same bits.

    Args:
        session: the run.
        built: the stage, reading inputs.
        batch: rows to try it on.

    Returns:
        By modality, then by part of `Features`, those of the rows that were tried; empty where nothing can be replaced.
    """
    config, budget = session.config, built.config.budget
    steps_of_epoch = math.ceil(len(session.data.rows[built.stage.config.rows]) / config.trainer.batch_size)
    if not config.trainer.cache_features or config.trainer.fsdp:
        return {}
    if budget.steps is None or budget.steps <= steps_of_epoch:
        return {}
    rows = split(batch, -(-len(batch.index) // TRIAL_ROWS))[0]
    return replaceable_inputs(built.learner, rows, built.heads, session.accelerator)


def rows_read(session: Session, stage: Stage) -> np.ndarray:
    """Return the rows that a stage reads for training and validation, each once, ascending.

    Args:
        session: the run.
        stage: its `rows` decide.

    Returns:
        [N] int64.
    """
    return np.union1d(session.data.rows[stage.config.rows], session.data.rows["val"])


def _feature_cost(columns: dict[str, FeatureColumn], rows: np.ndarray, flops_per_row: float) -> FeatureCost:
    """Return what the features of the training rows cost, whichever run computed them.

    Evaluation is not charged anywhere, and so neither are the features of validation rows.
    """
    number = len(np.unique(rows))
    seconds = sum(column.meta["seconds"] * number / len(column.rows) for column in columns.values())
    return FeatureCost(list(columns), number, seconds, flops_per_row * number)


def _feature_key(session: Session, modality: str, rows: np.ndarray, parts: dict[str, Tensor]) -> str:
    """Return the name of some features: a hash of everything that decides their bits."""
    config = session.config
    determinants: dict[str, object] = {
        "encoder": [config.encoder[modality], config.strategy.adapt],
        "weights": reuse.tensor_digest(session.model.encoder[modality].state_dict()),
        "column": session.columns[modality].name,
        "rows": hashlib.sha256(rows.tobytes()).hexdigest(),
        "parts": {name: str(part.dtype) for name, part in parts.items()},
        "trainer": relevant_keys(config.trainer, FORWARD),
        "device": device.model_name(session.accelerator.device),
    }
    return reuse.result_key(determinants)


def _format_bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
