"""How many rows a step takes where `trainer.batch_size=auto` leaves that to the machine's memory."""

from dataclasses import replace
from functools import partial

import torch

from mmrun.config import RunConfig
from mmrun.results.folder import RunFolder
from mmrun.run.session import Session
from mmrun.run.stage import make_learner
from mmrun.training import dry_run
from mmrun.training.engine import Learner
from mmrun.training.stages import Stage

LARGEST = {"cuda": 4096, "cpu": 256}  # rows a device: beyond these a step is no quicker, and its gradient no better


def recorded(config: RunConfig, folder: RunFolder) -> RunConfig:
    """Put the batch size that a run found when it first started in place of `auto`."""
    found = folder.environment().get("batch_size") if config.trainer.batch_size == "auto" else None
    return config if found is None else replace(config, trainer=replace(config.trainer, batch_size=found))


def sized(session: Session) -> Session:
    """Settle the batch size: as asked, as the run found it when it first started, or as it is found now.

    It is the largest power of two with which every stage's pass fits into each device's memory beside the optimiser's
    own, up to LARGEST and to the labelled rows. It is written to environment.json, since it is a fact of the machine.
    """
    config, accelerator = recorded(session.config, session.folder), session.accelerator
    if config.trainer.batch_size == "auto":
        limit = min(LARGEST[accelerator.device.type], len(session.data.rows["labelled"]) // accelerator.num_processes)
        for stage, learning in session.stages.values():
            learner = make_learner(session, stage, learning)
            limit = dry_run.largest(partial(_attempt, session, stage, learner), limit)
        local = accelerator.gather(torch.tensor([limit], device=accelerator.device)).min().item()
        found = int(local) * accelerator.num_processes
        config = replace(config, trainer=replace(config.trainer, batch_size=found))
        if session.writes:
            session.folder.set_environment(batch_size=found)
        session.watch.note(f"trainer.batch_size=auto: {found} rows a step")
    return replace(session, config=config)


def _attempt(session: Session, stage: Stage, learner: Learner, rows: int) -> None:
    """Try a pass of so many rows on this device, as much memory taken as an optimiser will keep."""
    size = rows * session.accelerator.num_processes
    batch = session.loader(session.data.rows[stage.config.rows], size, stage.modalities).batch(0)
    with session.accelerator.autocast():
        dry_run.attempt(learner, batch)
