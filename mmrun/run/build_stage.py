"""A stage of a run in memory: its learner, optimizer and batches. Nothing is written to disk."""

from contextlib import nullcontext, suppress
from functools import partial

import torch
from torch.autograd.graph import save_on_cpu

from mmrun.run import build
from mmrun.run import metrics as run_metrics
from mmrun.run.reinitialize import reinitialize
from mmrun.run.sampling import order_rows
from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import trained_parts
from mmrun.run.validation import monitored_metrics
from mmrun.training import cost, device, dry_run, reuse
from mmrun.training.budget import stage_budget
from mmrun.training.built_stage import BuiltStage
from mmrun.training.compile import compile_learner, compile_mode
from mmrun.training.ema import EMA
from mmrun.training.grad_accumulation import build_micro_batches
from mmrun.training.interpolation import Interpolation
from mmrun.training.learner import Learner
from mmrun.training.stages import Stage
from mmrun.training.state import FitConfig, TrainState

TRIED_ROWS = 8  # of a step that only shows whether each of its kernels can be used


def build_stage(session: Session, stage: Stage) -> BuiltStage:
    """Build a stage's learner, optimizer and batches, and count its operations. Nothing is written to disk.

    Args:
        session: the run.
        stage: to build.

    Raises:
        ConfigError: the stage cannot be trained as configured.
    """
    config, accelerator = session.config, session.accelerator
    torch.manual_seed(session.noise_seed(stage.name))
    learner = build_learner(session, stage)
    if stage.config.reinitialize:
        reinitialize(session, stage)
    objective = type(learner.objective).__name__  # FSDP gives what it shards a class of its own
    session.placement.place_objective(learner)
    trainable = [(name, parameter) for name, parameter in learner.named_parameters() if parameter.requires_grad]
    model_names = [(name.removeprefix("model."), parameter) for name, parameter in trainable]
    optimizer = build.build_optimizer(config, stage, session.model, model_names)
    ema: EMA | Interpolation | None = None
    if stage.config.ema_decay is not None:
        ema = EMA(trainable, stage.config.ema_decay)
    elif stage.config.interpolate is not None:
        ema = Interpolation(trainable, stage.config.interpolate)
    rows, batch_size = session.data.rows[stage.config.rows], config.trainer.batch_size
    stream = order_rows(config, stage, session.data)
    batches = session.loader(rows, batch_size, stage.modalities, stream=stream)
    learner.train()
    batch = batches.typical_batch()
    targets = reuse.RecordedTargets(batch.targets)
    with reuse.record_used_parts(session.model) as used_parts:
        flops = cost.flops_per_step(learner, batch._replace(targets=targets)) * accelerator.num_processes
    if not targets.were_read:  # then none is offered, so that hidden ones cannot matter
        batches = session.loader(rows, batch_size, stage.modalities, with_targets=False, stream=stream)
    prepared = session.placement.prepare(learner)
    cost.reset_peak_memory(accelerator.device)
    return BuiltStage(
        stage=stage,
        learner=learner,
        objective=objective,
        prepared=prepared,
        optimizer=optimizer,
        batches=batches,
        config=_fit_config(session, stage, flops),
        ema=ema,
        heads=[] if stage.config.monitor == "loss" else stage.heads,
        parts=frozenset(used_parts | trained_parts(stage)),
        flops_per_step=flops,
        epoch_rows=len(session.data.rows["all"]),
        is_main_process=session.is_writer,
        monitored=tuple(monitored_metrics(session, stage.config.monitor, stage.heads)),
    )


def build_learner(session: Session, stage: Stage) -> Learner:
    """Join the model with a stage's objective, and make exactly the stage's parameters trainable.

    Args:
        session: the run.
        stage: whose objective and trainable parameters count.
    """
    for name, parameter in session.model.named_parameters():
        parameter.requires_grad_(name in stage.trainable)
    objective = build.build_objective(session.config, stage, session.data, session.model)
    offload = partial(save_on_cpu, pin_memory=session.accelerator.device.type == "cuda")
    saved_tensors = offload if session.config.trainer.offload_activations else nullcontext
    return Learner(session.model, objective, saved_tensors).to(session.accelerator.device)


def try_step(session: Session, stage: Stage, learner: Learner, rows: int) -> None:
    """Try a step of a stage on the device; nothing changes.

    Args:
        session: the run.
        stage: of the step.
        learner: from `build_learner`.
        rows: of each process.
    """
    size = rows * session.accelerator.num_processes
    batch = session.loader(session.data.rows[stage.config.rows], size, stage.modalities).batch(0)
    with session.accelerator.autocast():
        dry_run.try_step(learner, batch)


def try_kernels(session: Session) -> None:
    """Try a step of each later stage where some kernels are refused, so that such an error comes before any training.

    The first stage takes a step anyway, as its operations are counted.

    Args:
        session: the run.
    """
    if not torch.are_deterministic_algorithms_enabled() or session.config.trainer.fsdp:
        return
    for stage in list(session.stages.values())[1:]:
        with suppress(torch.OutOfMemoryError):  # the loop splits a batch that memory does not hold
            try_step(session, stage, build_learner(session, stage), TRIED_ROWS)


def compile_stage(session: Session, built: BuiltStage, state: TrainState) -> None:
    """Compile the training pass in place, where `trainer.compile` asks for it.

    Args:
        session: the run.
        built: the stage; its learner is compiled in place.
        state: where training starts.
    """
    setting, accelerator = session.config.trainer.compile, session.accelerator
    if device.is_enabled(setting, accelerator.device):
        micro_batches = max(built.config.grad_accum_steps, state.grad_accum_steps)
        batch = build_micro_batches(built.learner, built.batches.batch(state.step), micro_batches, accelerator)[0]
        mode = compile_mode(setting, micro_batches)
        report = partial(session.report, built.name)
        compile_learner(built.prepared, batch, mode, accelerator, report)


def _fit_config(session: Session, stage: Stage, flops: float) -> FitConfig:
    config, keys = session.config, stage.config
    rows, batch_size = len(session.data.rows["all"]), config.trainer.batch_size
    monitored = monitored_metrics(session, keys.monitor, stage.heads)
    return FitConfig(
        budget=stage_budget(config.budget, stage, rows, batch_size, flops),
        evaluate_every=_steps_between_evaluations(session, stage),
        higher_is_better=bool(monitored) and run_metrics.higher_is_better(monitored[0]),
        schedule=keys.schedule,
        warmup=keys.warmup,
        max_grad_norm=keys.max_grad_norm,
        grad_accum_steps=keys.grad_accum_steps,
    )


def _steps_between_evaluations(session: Session, stage: Stage) -> int:
    """Return the optimiser steps from one evaluation of a stage to the next.

    They are fewer where the stage has a smaller share of the budget, so that the best weights of every stage are the
    best of equally many, up to rounding: of more of them, the best is better by chance.
    """
    trainer = session.config.trainer
    epochs = trainer.evaluate_every * stage.share / stage.reads  # of the stage's own modalities
    steps: float = epochs * len(session.data.rows["all"]) / trainer.batch_size
    return max(1, round(steps))
