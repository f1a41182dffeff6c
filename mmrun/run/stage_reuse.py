"""Results of stages that other runs may load: under a key of all that the result depends on."""

import hashlib
from pathlib import Path

from mmrun.compose import as_dict
from mmrun.config import TRAINING, relevant_keys, result_config
from mmrun.data import split
from mmrun.data.table import hash_targets
from mmrun.errors import DamagedError, StorageError
from mmrun.run import build
from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import StageCheckpoints
from mmrun.training import checkpoint, device, reuse
from mmrun.training.built_stage import BuiltStage
from mmrun.training.stage_cost import StageCost
from mmrun.training.state import TrainState


def stage_key(session: Session, built: BuiltStage) -> str:
    """Return the name of a stage's result: a hash of all it depends on, including the weights it starts from.

    Args:
        session: the run.
        built: the stage, before its first step.
    """
    stage, config = built.stage, session.config
    weights = session.placement.gather(reuse.tensors_of(session.model.state_dict(), built.parts))
    objective = session.placement.gather(built.learner.objective.state_dict())
    balance = config.balance if build.uses_balance(stage) else None
    sampled = [] if stage.config.labelled_share is None else ["labelled"]
    rows_used = {stage.config.rows, "all", "val", *sampled, *(["unlabelled"] if built.batches.targets else [])}
    determinants = {
        "stage": {**relevant_keys(stage.config, TRAINING), "modalities": stage.modalities, "name": stage.name},
        "optimizer": config.optimizer if stage.config.optimizer is None else stage.config.optimizer,
        "encoder_lr": {m: lr for m, lr in (config.encoder_lr or {}).items() if m in stage.trained_encoders},
        "parts": {name: session.part_config(name) for name in sorted(built.parts)},
        "strategy": [config.strategy.adapt, balance, build.augmentation_of(config, stage, session.data)],
        "callbacks": result_config(as_dict(config))["callbacks"],
        "weights": [reuse.tensor_digest(weights), reuse.tensor_digest(objective)],
        "preprocess": {modality: config.encoder[modality]["preprocess"] for modality in stage.modalities},
        "data": [session.data.table.fingerprint, split.hash_split(session.data.table.split)],
        "targets": hash_targets(session.data.table.targets),
        "rows": {name: hashlib.sha256(session.data.rows[name].tobytes()).hexdigest() for name in sorted(rows_used)},
        "budget": vars(built.config.budget),
        "trainer": {**relevant_keys(config.trainer, TRAINING), "device": None},
        "device": [device.model_name(session.accelerator.device), session.accelerator.num_processes],
        "seed": config.seed,
    }
    return session.placement.broadcast(reuse.result_key(determinants))


def stage_cache(session: Session) -> Path:
    """Return the folder of stored results of stages.

    Args:
        session: the run.
    """
    return Path(session.config.cache).expanduser() / "stages"


def load_stored(checkpoints: StageCheckpoints, stored: Path) -> bool:
    """Finish a stage with the result that an earlier run stored, and return whether there is one.

    Args:
        checkpoints: of the stage.
        stored: folder of the result.
    """
    session, built = checkpoints.session, checkpoints.built
    if not (checkpoint.exists(stored) and _is_intact(session, stored)):
        return False
    session.callback.on_stage_start(built, TrainState())
    charged = checkpoints.load_stored(stored)
    session.report(built.name, f"reused, charged {charged['seconds']:.1f} s")
    return True


def _is_intact(session: Session, stored: Path) -> bool:
    """Return whether a stored result is what was written; report one that is not."""
    try:
        checkpoint.verify(stored)
    except DamagedError as error:
        session.callback.on_message(f"{error}; the stage is trained again")
        return False
    return True


def store_result(checkpoints: StageCheckpoints, stored: Path, stage_costs: StageCost) -> None:
    """Store a result for later runs; where the cache cannot be written, this run needs no more than a message.

    Args:
        checkpoints: of the trained stage.
        stored: folder of the result.
        stage_costs: what it cost.
    """
    try:
        checkpoints.store(stored, stage_costs)
    except StorageError as error:
        checkpoints.session.report(checkpoints.built.name, f"not stored for other runs: {error}")
