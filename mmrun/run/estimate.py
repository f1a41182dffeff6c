"""What a run will take, estimated from a few of its real steps. Nothing is kept, and hardly a row is decoded."""

import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmrun.config import RunConfig
from mmrun.data.items import list_paths
from mmrun.data.store import choose_storage, open_column
from mmrun.data.table import Column
from mmrun.results.folder import RunFolder
from mmrun.run import build, checks, features
from mmrun.run.accelerator import build_accelerator, place_model
from mmrun.run.batch_size_search import resolve_batch_size
from mmrun.run.build_stage import build_stage
from mmrun.run.data import DataSets
from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import trained_parts
from mmrun.run.stage_reuse import stage_key
from mmrun.training import cost, engine, reuse
from mmrun.training.budget import StageBudget
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback, NullCallback
from mmrun.training.features import replace_inputs
from mmrun.training.stages import Stage
from mmrun.training.state import TrainState
from mmrun.types import Batch, Preprocessor

TIMED_SECONDS = 1.0  # of steps
DECODED_ROWS = 8  # whose decoding is timed


@dataclass(frozen=True)
class ColumnEstimate:
    """A decoded modality.

    Attributes:
        key: equal for runs that share it.
        modality: its name.
        rows: of the data set.
        size: bytes.
        seconds: to decode all rows.
        kept: memory | disk | nowhere: decoded anew for each batch.
    """

    key: str
    modality: str
    rows: int
    size: int
    seconds: float
    kept: str


@dataclass(frozen=True)
class StageEstimate:
    """A stage of a run.

    Attributes:
        name: of the stage.
        key: equal for stages that give the same weights.
        reuse: whether its result is stored and reused.
        steps: optimizer steps.
        step: seconds of one.
        features: seconds to compute, once, what is read in place of inputs.
        evaluations: number.
        evaluation: seconds of one.
        seconds: all together.
        flops: all together.
        checkpoints: bytes that stay in the run folder.
        stored: bytes in the cache, where the stage is reused.
    """

    name: str
    key: str
    reuse: bool
    steps: int
    step: float
    features: float
    evaluations: int
    evaluation: float
    seconds: float
    flops: float
    checkpoints: int
    stored: int


Timings = dict[tuple[str, str], float]  # seconds by what builds a run, and the part of it that was timed


@dataclass(frozen=True)
class RunEstimate:
    """A run.

    Attributes:
        stages: in order.
        around: seconds to open the data, to decode what is kept in memory, and to evaluate at the end.
        columns: its modalities.
    """

    stages: list[StageEstimate]
    around: float
    columns: list[ColumnEstimate]

    @property
    def seconds(self) -> float:
        """The time of the whole run once its columns are on disk."""
        return self.around + sum(stage.seconds for stage in self.stages)


def estimate_run(
    config: RunConfig,
    scratch: Path,
    callback: Callback,
    timings: Timings | None = None,
    data_sets: DataSets | None = None,
) -> RunEstimate:
    """Open a run as if to train it, and time a few steps of each stage.

    Args:
        config: of the run.
        scratch: an empty folder.
        callback: receives messages.
        timings: of other runs; what was timed for one that differs in rates alone is not timed again. The others are
            added.
        data_sets: of other runs, so that each is opened once.
    """
    time_once = partial(_time_once, {} if timings is None else timings, checks.identify_build(config))
    began = time.perf_counter()
    session = open_undecoded(config, scratch, callback, data_sets)
    opened = time.perf_counter() - began
    data, model, table = session.data, session.model, session.data.table
    columns = []
    for name, preprocessor in data.preprocessors.items():
        key = f"{table.fingerprint}/{name}"
        columns.append(_estimate_column(config, key, name, table.columns[name], preprocessor))
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained_by: dict[str, str] = {}  # by part of the model: the key of the stage that trained it last
    stages = []
    for stage in session.stages.values():
        model.load_state_dict(initial)
        estimate = _estimate_stage(session, stage, trained_by, columns, time_once)
        trained_by.update(dict.fromkeys(trained_parts(stage), estimate.key))
        stages.append(estimate)
    session.model.eval()
    opened += sum(column.seconds for column in columns if column.kept == "memory")
    evaluation = time_once(
        "the last evaluation", lambda: _time_evaluation(session, session.model, session.columns, ["val", "test"])
    )
    return RunEstimate(stages, opened + evaluation, columns)


def open_undecoded(config: RunConfig, scratch: Path, callback: Callback, data_sets: DataSets | None = None) -> Session:
    """Open a run as if to train it; rows are decoded as they are read, and none of them is kept.

    Args:
        config: of the run.
        scratch: an empty folder.
        callback: receives messages.
        data_sets: of other runs, so that each is opened once.
    """
    config = replace(config, callbacks={}, trainer=replace(config.trainer, save_every=math.inf))
    accelerator = build_accelerator(config)
    data = (data_sets or DataSets()).open(config)
    model = build.build_model(config, data)
    stages = build.resolve_stages(config, model)
    checks.dry_run_stages(config, data, model, stages)
    table = data.table
    columns = {}
    for modality, preprocessor in data.preprocessors.items():
        key = f"{table.fingerprint}/{modality}"
        columns[modality] = open_column(table.columns[modality], preprocessor, key, scratch, 0)
    placement = place_model(model, config, accelerator)
    folder = RunFolder(scratch)
    session = Session(config, folder, callback, accelerator, data, columns, model, stages, placement)
    return resolve_batch_size(session)


def _time_once(timings: Timings, build: str, part: str, measure: Callable[[], float]) -> float:
    """Return the seconds that a part of a run takes, measured once for all runs that are built alike."""
    if (build, part) not in timings:
        timings[build, part] = measure()
    return timings[build, part]


def _estimate_stage(
    session: Session,
    stage: Stage,
    trained_by: Mapping[str, str],
    columns: Sequence[ColumnEstimate],
    time_once: Callable[[str, Callable[[], float]], float],
) -> StageEstimate:
    built = build_stage(session, stage)
    batch_size = built.batch_size
    before = {part: trained_by[part] for part in sorted(built.parts) if part in trained_by}
    key = reuse.result_key({"own": stage_key(session, built), "before": before})
    first = built.batches.batch(0)
    replaced = features.replaceable_features(session, built, first)
    whole = [first] if replaced else [built.batches.batch(number) for number in (1, 2)]  # features are not cropped
    use_features = partial(replace_inputs, session.model, parts=replaced, accelerator=session.accelerator)
    began = time.perf_counter()
    batches = RepeatedBatches([use_features(batch) for batch in whole])
    _synchronize(session)
    encoding = (time.perf_counter() - began) / len(whole) / batch_size  # seconds per row
    step = time_once(f"{stage.name}, step", lambda: _time_step(session, built, batches))
    for column in columns:  # one that is kept nowhere is decoded while the last step runs
        if column.kept == "nowhere" and column.modality in set(stage.modalities) - set(replaced):
            step = max(step, column.seconds / column.rows * batch_size)
    budget = built.config.budget
    steps = budget.steps or max(1, round((budget.seconds or 0.0) / step))
    evaluations = math.ceil(steps / built.config.evaluate_every)
    flops = built.flops_per_step if not replaced else cost.flops_per_step(built.learner, batches.batch(0))
    flops_per_row = (built.flops_per_step - flops) / batch_size
    num_train_rows = len(np.unique(session.data.rows[stage.config.rows]))
    built.prepared.eval()
    evaluation = time_once(
        f"{stage.name}, evaluation",
        lambda: _time_evaluation(session, built.prepared, stage.modalities, ["val"], use_features),
    )
    once = encoding * len(features.rows_read(session, stage)) if replaced else 0.0
    weights = session.model.state_dict()
    return StageEstimate(
        name=stage.name,
        key=key,
        reuse=stage.config.reuse,
        steps=steps,
        step=step,
        features=once,
        evaluations=evaluations,
        evaluation=evaluation,
        seconds=once + steps * step + evaluations * evaluation,
        flops=steps * flops + num_train_rows * flops_per_row,
        checkpoints=_num_bytes(weights) * (2 if stage.config.keep == "best" else 1),
        stored=_num_bytes(reuse.tensors_of(weights, trained_parts(stage))),
    )


class RepeatedBatches:
    """The same few batches over and over: training is timed, not reading."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def batch(self, step: int) -> Batch:
        """Return one of them."""
        return self.batches[step % len(self.batches)]


def _time_step(session: Session, built: BuiltStage, batches: RepeatedBatches) -> float:
    """Return the seconds of a step, over as many steps as TIMED_SECONDS allows."""
    _time_steps(session, built, batches, 1)  # the first one is slower
    number = max(1, min(20, int(TIMED_SECONDS / _time_steps(session, built, batches, 1))))
    return _time_steps(session, built, batches, number) / number


def _time_steps(session: Session, built: BuiltStage, batches: RepeatedBatches, number: int) -> float:
    budget = StageBudget(steps=number)
    config = replace(built.config, budget=budget, evaluate_every=number, schedule="constant")
    began = time.perf_counter()
    engine.fit(
        built.prepared,
        batches,
        built.optimizer,
        config,
        TrainState(),
        session.accelerator,
        lambda: (0.0, {}),
        NullCallback(),
    )
    return time.perf_counter() - began


def _time_evaluation(
    session: Session,
    forward: Callable[[Batch], object],
    modalities: Iterable[str],
    splits: Sequence[str],
    use_features: Callable[[Batch], Batch] = lambda batch: batch,
) -> float:
    """Time one evaluation batch, and return the seconds that all rows of the splits take."""
    batch = use_features(next(session.ordered(splits[0], modalities)))
    rows = sum(len(session.data.rows[split]) for split in splits)
    began = time.perf_counter()
    with torch.no_grad():
        forward(batch)
    _synchronize(session)
    return (time.perf_counter() - began) * rows / len(batch.index)


def _synchronize(session: Session) -> None:
    """Wait until a GPU has done all its work."""
    if session.accelerator.device.type == "cuda":
        torch.cuda.synchronize()


def _estimate_column(
    config: RunConfig, key: str, modality: str, column: Column, preprocessor: Preprocessor
) -> ColumnEstimate:
    values = list(itertools.islice((value for value in column.values if value is not None), DECODED_ROWS))
    began = time.perf_counter()
    decoded = [preprocessor.decode(value) for value in values]
    seconds = (time.perf_counter() - began) / len(values)
    rows = len(column.values)
    size = rows * sum(array.nbytes for array in decoded[0].values())
    from_files = any(list_paths(value) for value in values)
    return ColumnEstimate(
        key=f"{key}/{json.dumps(preprocessor.state(), sort_keys=True)}",
        modality=modality,
        rows=rows,
        size=size,
        seconds=seconds * rows / ((os.cpu_count() or 1) if from_files else 1),
        kept=choose_storage(size, from_files, int(config.cache_limit * 1e9)),
    )


def _num_bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
