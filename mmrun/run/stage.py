"""One stage of one run: from its line in the strategy to trained weights on disk."""

import hashlib
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

import torch
from torch.autograd.graph import save_on_cpu

from mmrun.compose import as_dict
from mmrun.config import TRAINING, relevant_keys, result_config
from mmrun.data import split
from mmrun.data.table import hash_targets
from mmrun.errors import DamagedError, StorageError
from mmrun.processes import exclusive
from mmrun.run import build
from mmrun.run import metrics as run_metrics
from mmrun.run.callbacks import (
    AverageWeights,
    EarlyStopping,
    FinishedSteps,
    Heartbeat,
    JsonlLog,
    ModalityGradients,
    OutOfMemoryReport,
    StopAtThreshold,
    StopOnSignal,
)
from mmrun.run.features import read_features
from mmrun.run.reinitialize import reinitialize
from mmrun.run.rollback import Rollback
from mmrun.run.sampling import order_rows
from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import StageCheckpoints, discard_damaged, load_stage_weights, trained_parts
from mmrun.run.validation import LossValidation, MetricValidation, monitored_metrics
from mmrun.training import checkpoint, cost, device, dry_run, engine, reuse
from mmrun.training.budget import stage_budget
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback, CallbackList
from mmrun.training.compile import compile_learner, compile_mode
from mmrun.training.cost import stage_cost
from mmrun.training.ema import EMA
from mmrun.training.grad_accumulation import build_micro_batches
from mmrun.training.interpolation import Interpolation
from mmrun.training.learner import Learner
from mmrun.training.nan_guard import NanGuard, NonFiniteLossError
from mmrun.training.profile import Profiler, summarize
from mmrun.training.stage_cost import StageCost
from mmrun.training.stages import Stage
from mmrun.training.state import Batches, FitConfig, TrainState
from mmrun.training.throughput import ThroughputMeter, device_peak_flops

TRIED_ROWS = 8  # of a step that only shows whether each of its kernels can be used


def train_stage(session: Session, stage: Stage) -> StageCost:
    """Train a stage, resume it, load its stored result, or find it finished; leave its weights in the model.

    Args:
        session: the run.
        stage: to train.

    Returns:
        What the stage cost, in this run or in the one whose result was loaded.
    """
    if not is_trained(session, stage):
        built = build_stage(session, stage)
        if stage.config.reuse:
            run_or_reuse_stage(session, built, stage_cache(session))
        else:
            run_stage(session, built)
        session.accelerator.wait_for_everyone()
    return load_trained(session, stage)


def is_trained(session: Session, stage: Stage) -> bool:
    """Return whether the run holds the result of a stage; damaged checkpoints are removed first.

    Args:
        session: the run.
        stage: that may be trained.
    """
    discard_damaged(session, stage)
    last = session.folder.checkpoint_path(stage.name, "last")
    return checkpoint.exists(last) and bool(checkpoint.load(last)[0]["finished"])


def load_trained(session: Session, stage: Stage) -> StageCost:
    """Load the weights of a trained stage into the model, and return what it cost.

    Args:
        session: the run.
        stage: trained.
    """
    load_stage_weights(session, stage)
    (state,) = checkpoint.load(session.folder.checkpoint_path(stage.name, "last"))
    stage_costs: StageCost = state["cost"]
    return stage_costs


def stage_cache(session: Session) -> Path:
    """Return the folder of stored results of stages.

    Args:
        session: the run.
    """
    return Path(session.config.cache).expanduser() / "stages"


def run_or_reuse_stage(session: Session, built: BuiltStage, cache: Path) -> None:
    """Load a stage's result where an earlier run stored it; else train the stage, and store its result.

    Args:
        session: the run.
        built: the stage.
        cache: folder of stored results.
    """
    stored = cache / stage_key(session, built)
    checkpoints = StageCheckpoints(session, built)

    def report_wait(holder: str) -> None:
        session.callback.on_message(f"{built.name}: waits for {holder}, which trains the same stage")

    with exclusive(stored, report_wait) if session.is_writer else nullcontext():
        session.accelerator.wait_for_everyone()
        if not load_stored(checkpoints, stored):
            stage_costs = run_stage(session, built)
            if session.is_writer:
                _store(checkpoints, stored, stage_costs)


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
    session.callback.on_message(f"{built.name}: reused, charged {charged['seconds']:.1f} s")
    return True


def _is_intact(session: Session, stored: Path) -> bool:
    """Return whether a stored result is what was written; report one that is not."""
    try:
        checkpoint.verify(stored)
    except DamagedError as error:
        session.callback.on_message(f"{error}; the stage is trained again")
        return False
    return True


def _store(checkpoints: StageCheckpoints, folder: Path, stage_costs: StageCost) -> None:
    """Store a result for later runs; where the cache cannot be written, this run needs no more than a message."""
    try:
        checkpoints.store(folder, stage_costs)
    except StorageError as error:
        checkpoints.session.callback.on_message(f"{checkpoints.built.name}: not stored for other runs: {error}")


def run_stage(session: Session, built: BuiltStage) -> StageCost:
    """Train a built stage to its end, or resume it; save its result and return what it cost.

    Args:
        session: the run.
        built: the stage.
    """
    training = StageTraining(session, built)
    training.start()
    training.fit()
    return training.finish()


class StageTraining:
    """A built stage with all that its training loop is called with: batches, callbacks, validation, guard.

    Args:
        session: the run.
        built: the stage; it reads features from here on where that pays.
    """

    def __init__(self, session: Session, built: BuiltStage) -> None:
        heartbeat = Heartbeat(session.folder, built)
        session, built = read_features(session, built, heartbeat.beat)
        self.session, self.built = session, built
        trainer, report = session.config.trainer, partial(_report, session.callback, built.name)
        self.guard = NanGuard(built.prepared, session.accelerator, trainer.on_nan, session.data.table.ids, report)
        self.checkpoints = StageCheckpoints(session, built, partial(self.guard.check, built.batches))
        self.rollback = Rollback(self.checkpoints) if trainer.on_nan == "rollback" else None
        if checkpoint.exists(self.checkpoints.last):
            self.state = self.checkpoints.restore()
            session.callback.on_message(f"{built.name}: resumes after step {self.state.step}")
        else:
            self.state = TrainState()
            self.checkpoints.save(self.state)
        self.meter = _measure_throughput(session, built, self.state)
        savers = [] if self.rollback is None else [self.rollback]
        observers = _stage_callbacks(session, built, self.meter)
        self.callbacks = CallbackList([*observers, *savers, self.checkpoints, heartbeat])
        self.validate = _validation(session, built, self.checkpoints)

    def start(self) -> None:
        """Compile the learner where that is asked for, and tell the callbacks that the stage starts."""
        compile_stage(self.session, self.built, self.state)
        self.callbacks.on_stage_start(self.built, self.state)

    def fit(self) -> None:
        """Train until the budget is spent; where a loss is not finite, go back if `trainer.on_nan` is rollback."""
        built, session = self.built, self.session
        callbacks = CallbackList([self.callbacks, StopOnSignal(session.interruption)])
        with session.interruption.deferred():
            while True:
                try:
                    engine.fit(
                        built.prepared,
                        self.meter,
                        built.optimizer,
                        built.config,
                        self.state,
                        session.accelerator,
                        self.validate,
                        callbacks,
                        self.guard,
                    )
                    return
                except NonFiniteLossError as error:
                    if self.rollback is None:
                        raise
                    self.rollback.go_back(self.state, error)

    def finish(self) -> StageCost:
        """Save the result of the trained stage, and return what it cost."""
        self.checkpoints.require_best(self.state)
        self.callbacks.on_stage_end(self.built, self.state)
        stage_costs = stage_cost(self.built, self.state)
        self.checkpoints.finish(stage_costs)
        return stage_costs


# -------------------------------------------------------------------------------------------------- building a stage


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
        report = partial(_report, session.callback, built.name)
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


# --------------------------------------------------------------------------------------------------- running a stage


def _stage_callbacks(session: Session, built: BuiltStage, meter: ThroughputMeter) -> list[Callback]:
    """Return the callbacks of a stage before those that save, in order: what adds metrics, decides, reads metrics."""
    trainer = session.config.trainer
    patience, threshold = built.stage.config.patience, built.stage.config.stopping_threshold
    callbacks: list[Callback] = []
    if built.config.budget.seconds is not None and built.device.type == "cuda":
        callbacks.append(FinishedSteps(torch.cuda.current_stream(built.device).record_event))
    if built.ema is not None:
        callbacks.append(AverageWeights(built.ema))
    callbacks.append(meter)
    if trainer.log_modality_gradients:
        callbacks.append(ModalityGradients(built))
    if patience is not None:
        callbacks.append(EarlyStopping(patience))
    if threshold is not None:
        callbacks.append(StopAtThreshold(threshold, built.config.higher_is_better))
    log, out_of_memory = JsonlLog(session.folder, built), OutOfMemoryReport(built, trainer.compile, session.callback)
    return [*callbacks, log, out_of_memory, session.callback]


def _measure_throughput(session: Session, built: BuiltStage, state: TrainState) -> ThroughputMeter:
    trainer, accelerator = session.config.trainer, session.accelerator
    batches: Batches = built.batches
    if trainer.profile and session.is_writer:
        trace = session.folder.profile_path(built.name)
        batches = Profiler(batches, built.learner, trace, partial(_on_profile, session, built.name, trace))
    peak = device_peak_flops(accelerator.device, trainer.precision, trainer.tf32)
    return ThroughputMeter(batches, accelerator.device, peak, state, built.batch_size, built.flops_per_step)


def _validation(session: Session, built: BuiltStage, checkpoints: StageCheckpoints) -> engine.Validate:
    monitored = monitored_metrics(session, built.stage.config.monitor, built.stage.heads)
    if monitored:
        return MetricValidation(session, built, checkpoints, monitored)
    return LossValidation(session, built, checkpoints)


def _on_profile(session: Session, stage: str, trace: Path, shares: dict[str, float]) -> None:
    _report(session.callback, stage, f"{summarize(shares)}; {trace}")
    event: dict[str, object] = {"event": "profile", "stage": stage, **shares}
    session.folder.log.append(event)


def _report(callback: Callback, stage: str, text: str) -> None:
    callback.on_message(f"{stage}: {text}")
