"""One stage of one run: from its line in the strategy to trained weights on disk."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch

from mmrun.processes import exclusive
from mmrun.run.build_stage import build_stage, compile_stage
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
from mmrun.run.rollback import Rollback
from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import StageCheckpoints, discard_damaged, load_stage_weights
from mmrun.run.stage_reuse import load_stored, stage_cache, stage_key, store_result
from mmrun.run.validation import LossValidation, MetricValidation, monitored_metrics
from mmrun.training import checkpoint, engine
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback, CallbackList
from mmrun.training.cost import stage_cost
from mmrun.training.nan_guard import NanGuard, NonFiniteLossError
from mmrun.training.profile import Profiler, summarize
from mmrun.training.stage_cost import StageCost
from mmrun.training.stages import Stage
from mmrun.training.state import Batches, TrainState
from mmrun.training.throughput import ThroughputMeter, device_peak_flops


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
        session.report(built.name, f"waits for {holder}, which trains the same stage")

    with exclusive(stored, report_wait) if session.is_writer else nullcontext():
        session.accelerator.wait_for_everyone()
        if not load_stored(checkpoints, stored):
            stage_costs = run_stage(session, built)
            if session.is_writer:
                store_result(checkpoints, stored, stage_costs)


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
        trainer, report = session.config.trainer, partial(session.report, built.name)
        self.guard = NanGuard(built.prepared, session.accelerator, trainer.on_nan, session.data.table.ids, report)
        self.checkpoints = StageCheckpoints(session, built, partial(self.guard.check, built.batches))
        self.rollback = Rollback(self.checkpoints) if trainer.on_nan == "rollback" else None
        if checkpoint.exists(self.checkpoints.last):
            self.state = self.checkpoints.restore()
            session.report(built.name, f"resumes after step {self.state.step}")
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
    session.report(stage, f"{summarize(shares)}; {trace}")
    event: dict[str, object] = {"event": "profile", "stage": stage, **shares}
    session.folder.log.append(event)
