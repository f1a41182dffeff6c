"""What a run will take, from a few of its real steps: nothing is kept, and no column is decoded but for these."""

import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmrun.config import RunConfig
from mmrun.data.store import open_column, where_kept
from mmrun.data.table import Column
from mmrun.results.folder import RunFolder
from mmrun.run import batch_size_search, build, features
from mmrun.run import metrics as run_metrics
from mmrun.run.pipeline import build_accelerator, place
from mmrun.run.session import Callback, Session
from mmrun.run.stage import StageTraining
from mmrun.training import cost, engine, reuse
from mmrun.training.budget import StageBudget
from mmrun.training.features import stand_in
from mmrun.training.stages import Stage
from mmrun.types import Batch, Preprocessor

LONG_ENOUGH = 1.0  # seconds of steps that are timed
DECODED = 8  # rows whose decoding is timed


@dataclass(frozen=True)
class ColumnForecast:
    """A preprocessed column."""

    key: str  # the same for runs that share it
    modality: str
    rows: int
    size: int  # bytes
    seconds: float  # to decode all of it
    kept: str  # memory | disk | nowhere: decoded anew for each batch


@dataclass(frozen=True)
class StageForecast:
    """A stage of a run."""

    name: str
    key: str  # the same for stages that give the same weights
    reuse: bool
    steps: int
    step: float  # seconds
    features: float  # seconds to compute, once, what is read in place of inputs
    evaluations: int
    evaluation: float  # seconds
    seconds: float  # all together
    flops: float
    checkpoints: int  # bytes that stay in the run folder
    stored: int  # bytes in the cache, where it is reused


@dataclass(frozen=True)
class RunForecast:
    """A run."""

    stages: list[StageForecast]
    around: float  # seconds to open the data, to decode what is kept in memory, to evaluate at the end
    columns: list[ColumnForecast]

    @property
    def seconds(self) -> float:
        """Give the time of the whole run, its columns on disk before."""
        return self.around + sum(stage.seconds for stage in self.stages)


def forecast(config: RunConfig, scratch: Path, watch: Callback) -> RunForecast:
    """Open a run as if to train it, and time a few steps of each stage."""
    began = time.perf_counter()
    session = open_undecoded(config, scratch, watch)
    opened = time.perf_counter() - began
    data, model, table = session.data, session.model, session.data.table
    preprocessed = [
        _column(config, f"{table.fingerprint}/{name}", name, table.columns[name], preprocessor)
        for name, preprocessor in data.preprocessors.items()
    ]
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    taught: dict[str, str] = {}  # by part of the model: the key of the stage that taught it last
    timed = []
    for stage, learning in session.stages.values():
        model.load_state_dict(first)
        found = _stage(session, stage, learning, taught, preprocessed)
        taught.update(dict.fromkeys({reuse.part(name) for name in learning}, found.key))
        timed.append(found)
    session.model.eval()
    opened += sum(column.seconds for column in preprocessed if column.kept == "memory")
    return RunForecast(timed, opened + _forward(session, session.model, session.columns, "val", "test"), preprocessed)


def open_undecoded(config: RunConfig, scratch: Path, watch: Callback) -> Session:
    """Open a run as if to train it; rows are decoded as they are asked for, and no byte of them is kept."""
    config = replace(config, trainer=replace(config.trainer, trackers=[], save_every=math.inf))
    accelerator = build_accelerator(config)
    data = build.data(config)
    model = build.model(config, data)
    stages = build.stages(config, model)
    build.dry_run_stages(config, data, model, stages)
    table = data.table
    columns = {
        modality: open_column(table.columns[modality], preprocessor, f"{table.fingerprint}/{modality}", scratch, 0)
        for modality, preprocessor in data.preprocessors.items()
    }
    placement = place(model, config, accelerator)
    return batch_size_search.sized(
        Session(config, RunFolder(scratch), watch, accelerator, data, columns, model, stages, placement)
    )


def _stage(
    session: Session, stage: Stage, learning: set[str], taught: dict[str, str], columns: Sequence[ColumnForecast]
) -> StageForecast:
    training = StageTraining(session, stage, learning)
    before = {part: taught[part] for part in sorted(training.parts) if part in taught}
    key = reuse.key({"own": training.key(), "before": before})
    whole = [training.batches.batch(number) for number in range(2)]
    reads = features.usable(session, stage, training.bare, whole[0], training.judged, training.plan.allowance)
    change = partial(stand_in, session.model, names=reads, accelerator=session.accelerator)
    began = time.perf_counter()
    batches = Again([change(batch) for batch in whole])
    _wait(session)
    encoded = (time.perf_counter() - began) / len(whole) / session.config.trainer.batch_size  # a row
    _steps(training, batches, 1)  # the first is slower
    number = max(1, min(20, int(LONG_ENOUGH / _steps(training, batches, 1))))
    step = _steps(training, batches, number) / number
    for column in columns:  # one that is kept nowhere is decoded while the last step runs
        if column.kept == "nowhere" and column.modality in set(stage.modalities) - set(reads):
            step = max(step, column.seconds / column.rows * session.config.trainer.batch_size)
    allowance = training.plan.allowance
    steps = allowance.steps or max(1, round((allowance.seconds or 0.0) / step))
    evaluations = math.ceil(steps / training.plan.evaluate_every)
    flops = training.flops if not reads else cost.flops_per_step(training.bare, batches.batch(0))
    of_row = (training.flops - flops) / session.config.trainer.batch_size
    learned_from = len(np.unique(session.data.rows[stage.config.rows]))
    training.learner.eval()
    evaluation = _forward(session, training.learner, stage.modalities, "val", change=change)
    once = encoded * len(features.read_by(session, stage)) if reads else 0.0
    weights = _size(session.model.state_dict())
    return StageForecast(
        name=stage.name,
        key=key,
        reuse=stage.config.reuse,
        steps=steps,
        step=step,
        features=once,
        evaluations=evaluations,
        evaluation=evaluation,
        seconds=once + steps * step + evaluations * evaluation,
        flops=steps * flops + learned_from * of_row,
        checkpoints=weights * (2 if stage.config.keep == "best" else 1),
        stored=_size(reuse.tensors_of(session.model.state_dict(), training.learns)),
    )


class Again:
    """The same few batches, over and over: what is timed is the training, not the reading."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def batch(self, step: int) -> Batch:
        """Give one of them."""
        return self.batches[step % len(self.batches)]


class _Silent:
    """Hears nothing of what the engine tells."""

    def cut(self, progress: engine.Progress) -> None: ...

    def stepped(self, progress: engine.Progress, losses: dict[str, Tensor]) -> None: ...

    def evaluated(self, progress: engine.Progress, losses: run_metrics.Metrics, found: run_metrics.Metrics) -> None: ...

    def improved(self, progress: engine.Progress) -> None: ...

    def settled(self, progress: engine.Progress) -> None: ...


def _steps(training: StageTraining, batches: Again, number: int) -> float:  # seconds
    plan = replace(training.plan, allowance=StageBudget(steps=number), evaluate_every=number, schedule="constant")
    nothing: Callable[[], tuple[float, run_metrics.Metrics]] = lambda: (0.0, {})  # noqa: E731
    began = time.perf_counter()
    engine.fit(
        training.learner,
        batches,
        training.optimizer,
        plan,
        engine.Progress(),
        training.session.accelerator,
        nothing,
        _Silent(),
    )
    return time.perf_counter() - began


def _forward(
    session: Session,
    call: Callable[[Batch], object],
    modalities: Iterable[str],
    *splits: str,
    change: Callable[[Batch], Batch] = lambda batch: batch,
) -> float:
    """Time one batch of an evaluation, and give the seconds that all rows of the splits take."""
    batch = change(next(session.ordered(splits[0], modalities)))
    rows = sum(len(session.data.rows[split]) for split in splits)
    began = time.perf_counter()
    with torch.no_grad():
        call(batch)
    _wait(session)
    return (time.perf_counter() - began) * rows / len(batch.index)


def _wait(session: Session) -> None:
    """Let a GPU do all that was asked of it."""
    if session.accelerator.device.type == "cuda":
        torch.cuda.synchronize()


def _column(config: RunConfig, key: str, modality: str, column: Column, preprocessor: Preprocessor) -> ColumnForecast:
    values = list(itertools.islice((value for value in column.values if value is not None), DECODED))
    began = time.perf_counter()
    decoded = [preprocessor.decode(value) for value in values]
    seconds = (time.perf_counter() - began) / len(values)
    rows = len(column.values)
    size = rows * sum(array.nbytes for array in decoded[0].values())
    from_files = any(isinstance(value, Path) for value in values)
    return ColumnForecast(
        key=f"{key}/{json.dumps(preprocessor.state(), sort_keys=True)}",
        modality=modality,
        rows=rows,
        size=size,
        seconds=seconds * rows / ((os.cpu_count() or 1) if from_files else 1),
        kept=where_kept(size, from_files, int(config.cache_limit * 1e9)),
    )


def _size(tensors: dict[str, Tensor]) -> int:  # bytes
    return sum(tensor.nbytes for tensor in tensors.values())
