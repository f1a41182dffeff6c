"""The batch size where `trainer.batch_size=auto` leaves it to the machine's memory."""

from dataclasses import replace
from functools import partial

import torch

from mmrun.config import RunConfig
from mmrun.results.folder import RunFolder
from mmrun.run.build_stage import build_learner, try_step
from mmrun.run.session import Session
from mmrun.training import dry_run

MAX_ROWS = {"cuda": 4096, "cpu": 256}  # per device: more rows make a step no faster, and its gradient no better


def recorded_batch_size(config: RunConfig, folder: RunFolder) -> RunConfig:
    """Replace `auto` by the batch size that the run found when it first started, if it did.

    Args:
        config: of the run.
        folder: of the run.
    """
    recorded = folder.read_environment().get("batch_size") if config.trainer.batch_size == "auto" else None
    return config if recorded is None else replace(config, trainer=replace(config.trainer, batch_size=recorded))


def resolve_batch_size(session: Session) -> Session:
    """Return the session with a number for its batch size.

    For `auto` it is the largest power of two with which the step of every stage fits into each device's memory beside
    the optimizer's state, up to MAX_ROWS and to the number of labelled rows. It is written to environment.json, since
    it depends on the machine.

    Args:
        session: the run; `auto` is tried out on the device.
    """
    config, accelerator = recorded_batch_size(session.config, session.folder), session.accelerator
    if config.trainer.batch_size == "auto":
        labelled = len(session.data.rows["labelled"]) // accelerator.num_processes
        limit = min(MAX_ROWS[accelerator.device.type], labelled)
        for stage in session.stages.values():
            learner = build_learner(session, stage)
            limit = dry_run.largest_size(partial(try_step, session, stage, learner), limit)
        local = accelerator.gather(torch.tensor([limit], device=accelerator.device)).min().item()
        batch_size = int(local) * accelerator.num_processes
        config = replace(config, trainer=replace(config.trainer, batch_size=batch_size))
        if session.is_writer:
            session.folder.update_environment(batch_size=batch_size)
        session.callback.on_message(f"trainer.batch_size=auto: {batch_size} rows a step")
    return replace(session, config=config)
