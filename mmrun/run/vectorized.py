"""Several runs of one architecture, trained together: each step is one computation, each run has its own folder."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import torch

from mmrun.config import RunConfig
from mmrun.results.folder import RunFolder
from mmrun.results.folder_lock import lock_run
from mmrun.run import build, checks, pipeline
from mmrun.run.accelerator import build_accelerator
from mmrun.run.build_stage import build_stage, try_kernels
from mmrun.run.interruption import Interruption, handle_signals
from mmrun.run.last_data import LastData
from mmrun.run.opening import open_session, open_sibling
from mmrun.run.session import Session
from mmrun.run.stage import StageTraining, is_trained, load_trained
from mmrun.run.stage_checkpoints import StageCheckpoints
from mmrun.run.stage_reuse import load_stored, stage_cache, stage_key
from mmrun.run.start_record import record_start
from mmrun.training import checkpoint, device
from mmrun.training.callback import Callback, CallbackList
from mmrun.training.stage_cost import StageCost
from mmrun.training.vectorized.batches import StackedBatches
from mmrun.training.vectorized.fit import fit_together
from mmrun.training.vectorized.members import Member
from mmrun.training.vectorized.stackable import (
    ROUNDED_TOLERANCE,
    TOLERANCE,
    NotStackableError,
    choose_size,
    find_collected,
)
from mmrun.types import Batch


@dataclass
class Sibling:
    """One of the runs that train together.

    Attributes:
        config: of the run.
        folder: where it writes.
        overrides: what was typed.
        callback: observes the run, besides the callbacks that its config names.
        rerun: repeat the run if it is finished.
        error: what ended the run before its end; None: nothing yet.
        costs: of the stages that are trained, by name.
    """

    config: RunConfig
    folder: RunFolder
    overrides: Sequence[str]
    callback: Callback
    rerun: bool = False
    error: Exception | None = None
    costs: dict[str, StageCost] = field(default_factory=dict)
    opened: Session | None = None

    @property
    def session(self) -> Session:
        """The run, opened."""
        assert self.opened is not None
        return self.opened

    @property
    def trains(self) -> bool:
        """Whether the run is neither finished nor failed."""
        return self.error is None and not self.folder.finished

    def attempt(self, action: Callable[[], object]) -> None:
        """Do something that concerns this run alone; where it fails, the run ends, and the others go on.

        Args:
            action: what to do.
        """
        try:
            with pipeline.record_failure(self.folder, True, self.callback):
                action()
        except Exception as error:
            self.error = error


def run_together(siblings: Sequence[Sibling], last_data: LastData | None = None) -> None:
    """Train, evaluate and write several runs; a run that is finished is left as it is. See `pipeline.run`.

    Args:
        siblings: that differ in their seeds, and in numbers of their optimizers. What ended a run early is its `error`.
        last_data: of the process, if it trains other runs as well.

    Raises:
        ConfigError, DataError: no run can start.
        NotStackableError: they would train slower than one after another; nothing was trained.
        KeyboardInterrupt: a signal ended all of them; each has a checkpoint.
    """
    with ExitStack() as locks:
        for sibling in sorted(siblings, key=lambda sibling: sibling.folder.path):
            locks.enter_context(lock_run(sibling.folder, sibling.callback.on_message))
            if sibling.rerun:
                sibling.folder.clear()
        siblings = [sibling for sibling in siblings if sibling.trains]
        if siblings:
            _open(siblings, last_data)
            with device.naming_kernel(), handle_signals(siblings[0].callback.on_message) as interruption:
                _train_interruptible(siblings, interruption)


def _open(siblings: Sequence[Sibling], last_data: LastData | None) -> None:
    """Open all runs: the first from its data, the others from what it opened."""
    first = siblings[0]
    accelerator = build_accelerator(first.config)
    checks.check_nodes(first.config)
    for sibling in siblings:
        callback = CallbackList([sibling.callback, *build.build_callbacks(sibling.config)])
        if first.opened is None:
            sibling.opened = open_session(sibling.config, sibling.folder, callback, accelerator, last_data=last_data)
            _check_size(sibling.session, len(siblings))
        else:
            sibling.opened = open_sibling(first.session, sibling.config, sibling.folder, callback)
        record_start(sibling.session, sibling.overrides)


def _check_size(session: Session, number: int) -> None:
    """Raise NotStackableError if a step of several runs takes longer than one step after another."""
    loader = session.loader(session.data.rows["all"], session.config.trainer.batch_size, session.columns)
    if number > 1 and choose_size(session.model, loader.batch(0), number) == 1:
        raise NotStackableError("on a CPU, their feature maps do not fit into its cache together")


def _train_interruptible(siblings: Sequence[Sibling], interruption: Interruption) -> None:
    """Train all runs; where a signal or an error ends all of them, record that for each."""
    for sibling in siblings:
        sibling.opened = replace(sibling.session, interruption=interruption)
    try:
        _train(siblings, interruption)
    except BaseException as error:
        for sibling in siblings:
            if sibling.trains:
                with suppress(BaseException), pipeline.record_failure(sibling.folder, True, sibling.callback):
                    raise error
        raise


def _train(siblings: Sequence[Sibling], interruption: Interruption) -> None:
    """Train every stage of all runs in order, then evaluate one run after another."""
    for sibling in siblings:
        session = sibling.session
        session.callback.on_run_start(session.folder.path, list(session.stages))
    try_kernels(siblings[0].session)
    for name in siblings[0].session.stages:
        _train_stage([sibling for sibling in siblings if sibling.trains], name, interruption)
    for sibling in siblings:
        if sibling.trains:
            sibling.attempt(partial(pipeline.finish_run, sibling.session, sibling.costs))


def _train_stage(siblings: Sequence[Sibling], name: str, interruption: Interruption) -> None:
    """Train a stage of all runs; leave its weights in their models, and its cost with each run."""
    opened: list[OpenedStage] = []
    for sibling in siblings:
        sibling.attempt(partial(_open_stage, sibling, name, opened))
    for step in dict.fromkeys(stage.training.state.step for stage in opened):
        same_step = [stage for stage in opened if stage.training.state.step == step]
        _fit(same_step, interruption)
        for stage in same_step:
            if stage.sibling.trains:
                stage.sibling.attempt(stage.training.finish)
    for sibling in siblings:
        if sibling.trains:
            sibling.attempt(partial(_keep_result, sibling, name))


class OpenedStage(NamedTuple):
    """A stage of one of the runs, ready to be trained.

    Attributes:
        sibling: the run.
        training: of the stage.
        random_state: of torch's generators, with which the run trains alone.
    """

    sibling: Sibling
    training: StageTraining
    random_state: checkpoint.Tensors


def _open_stage(sibling: Sibling, name: str, opened: list[OpenedStage]) -> None:
    """Open a stage of a run, unless the run has its result, or an earlier run stored it."""
    session = sibling.session
    stage = session.stages[name]
    if is_trained(session, stage):
        return
    built = build_stage(session, stage)
    if stage.config.reuse:
        stored = stage_cache(session) / stage_key(session, built)
        if load_stored(StageCheckpoints(session, built), stored):
            return
    training = StageTraining(session, built)
    training.start()
    opened.append(OpenedStage(sibling, training, checkpoint.random_state(session.accelerator.device)))


def _keep_result(sibling: Sibling, name: str) -> None:
    sibling.costs[name] = load_trained(sibling.session, sibling.session.stages[name])


def _fit(opened: Sequence[OpenedStage], interruption: Interruption) -> None:
    """Train a stage of some runs that are at the same step, as many together as is fastest."""
    trainings = [stage.training for stage in opened]
    first = trainings[0]
    batches = StackedBatches([training.built.batches for training in trainings])
    learners = [training.built.learner for training in trainings]
    size = choose_size(learners[0], first.built.batches.batch(first.state.step), len(learners))
    reason, collected = "their feature maps do not fit into the cache together", set[str]()
    tolerance = ROUNDED_TOLERANCE if _rounds_products(first.session) else TOLERANCE
    while size > 1:
        try:
            collected = find_collected(learners[:size], batches.load(range(size), first.state.step), tolerance)
            break
        except NotStackableError as error:
            size, reason = 1, str(error)
        except torch.OutOfMemoryError:
            size, reason = size // 2, "memory does not hold two of them"
    how = "together" if size == len(opened) else f"{size} at a time"
    how = f"one after another: {reason}" if size == 1 else how
    first.session.report(first.built.name, f"{len(opened)} runs train {how}")
    for start in range(0, len(opened), size):
        checkpoint.restore_random(opened[start].random_state, first.session.accelerator.device)
        part = range(start, min(start + size, len(opened)))
        if len(part) == 1:
            opened[start].sibling.attempt(trainings[start].fit)
            continue
        members = [_member(trainings[number]) for number in part]

        def load(numbers: Sequence[int], step: int, start: int = start) -> Batch:
            return batches.load([start + number for number in numbers], step)

        with interruption.deferred():
            fit_together(members, load, collected, first.session.accelerator, interruption.stop_if_signalled)
        for number, member in zip(part, members, strict=True):
            if member.error is not None:
                opened[number].sibling.attempt(partial(_raise, member.error))


def _rounds_products(session: Session) -> bool:
    """Return whether products are rounded to fewer bits than fp32 has."""
    trainer = session.config.trainer
    return trainer.precision != "fp32" or (trainer.tf32 and session.accelerator.device.type == "cuda")


def _member(training: StageTraining) -> Member:
    """Return what the loop trains."""
    built = training.built
    return Member(
        learner=built.learner,
        batches=training.meter,
        optimizer=built.optimizer,
        config=built.config,
        state=training.state,
        validate=training.validate,
        callback=training.callbacks,
        guard=training.guard,
    )


def _raise(error: Exception) -> None:
    raise error
