"""How fast a config trains and predicts on this machine: steps of each stage, batches and rows of its model."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmrun.config import RunConfig
from mmrun.run.build_stage import build_stage, compile_stage
from mmrun.run.estimate import RepeatedBatches, open_undecoded
from mmrun.run.session import Session
from mmrun.training import cost, engine
from mmrun.training.budget import StageBudget
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback
from mmrun.training.grad_accumulation import first_rows
from mmrun.training.stages import Stage
from mmrun.training.state import TrainState
from mmrun.training.throughput import device_peak_flops

WARMUP_CALLS = 3  # are not counted
MIN_CALLS = 5  # are counted at least


@dataclass(frozen=True)
class Timing:
    """How long something takes, measured several times.

    Attributes:
        what: a stage's name, or "inference".
        rows: processed at once.
        times: number of measurements.
        p50: median, in seconds.
        p99: 99th percentile, in seconds.
        samples_per_second: over all measurements.
        flops_per_second: None where operations are not counted.
        mfu: share of the device's peak; None where that is unknown.
        peak_memory: bytes.
    """

    what: str
    rows: int
    times: int
    p50: float
    p99: float
    samples_per_second: float
    flops_per_second: float | None
    mfu: float | None
    peak_memory: int

    @property
    def seconds_per_row(self) -> float:
        """The median time divided by the rows."""
        return self.p50 / self.rows


def bench(config: RunConfig, scratch: Path, callback: Callback, seconds: float) -> list[Timing]:
    """Time a step of every stage, a batch of the whole model, and a single row.

    Batches are in memory: computing is timed, not reading. The weights do not matter.

    Args:
        config: of the run.
        scratch: an empty folder.
        callback: receives messages.
        seconds: to spend on each.
    """
    session = open_undecoded(config, scratch, callback)
    timings = []
    for stage in session.stages.values():
        callback.on_message(f"timing {stage.name}")
        timings.append(_time_steps(session, stage, seconds))
    callback.on_message("timing inference")
    session.model.eval()
    batch = next(session.ordered("val", session.columns))
    for rows in dict.fromkeys((len(batch.index), 1)):
        timings.append(_time_inference(session, rows, seconds))
    return timings


def _time_steps(session: Session, stage: Stage, seconds: float) -> Timing:
    built = build_stage(session, stage)
    state = TrainState()
    compile_stage(session, built, state)
    clock = _StepClock(session.accelerator.device)
    batches = RepeatedBatches([built.batches.batch(number) for number in (1, 2)])  # batch 0 is wider
    for number in (WARMUP_CALLS, MIN_CALLS):
        _train_steps(session, built, batches, state, state.step + number, clock)
    remaining = int((seconds - sum(clock.times[WARMUP_CALLS:])) / clock.median())
    if remaining > 0:
        _train_steps(session, built, batches, state, state.step + remaining, clock)
    return _timing(session, stage.name, built.batch_size, clock.times[WARMUP_CALLS:], built.flops_per_step)


def _train_steps(
    session: Session,
    built: BuiltStage,
    batches: RepeatedBatches,
    state: TrainState,
    until_step: int,
    clock: "_StepClock",
) -> None:
    config = replace(built.config, budget=StageBudget(steps=until_step), evaluate_every=10**9, schedule="constant")
    clock.start()
    engine.fit(built.prepared, batches, built.optimizer, config, state, session.accelerator, lambda: (0.0, {}), clock)


class _StepClock(Callback):
    """Measures how long each step takes until the device has finished it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []
        self.began = 0.0

    def start(self) -> None:
        _synchronize(self.device)
        self.began = time.perf_counter()

    def median(self) -> float:
        return float(np.median(self.times[WARMUP_CALLS:]))

    def on_step_end(self, state: TrainState, losses: dict[str, Tensor]) -> None:
        _synchronize(self.device)
        self.times.append(time.perf_counter() - self.began)
        self.began = time.perf_counter()


@torch.no_grad()
def _time_inference(session: Session, rows: int, seconds: float) -> Timing:
    """Time the whole model on its first validation rows."""
    device = session.accelerator.device
    batch = first_rows(next(session.ordered("val", session.columns)), rows)
    cost.reset_peak_memory(device)
    times: list[float] = []
    while len(times) < WARMUP_CALLS + MIN_CALLS or sum(times[WARMUP_CALLS:]) < seconds:
        _synchronize(device)
        began = time.perf_counter()
        with session.accelerator.autocast():
            session.model(batch)
        _synchronize(device)
        times.append(time.perf_counter() - began)
    return _timing(session, "inference", rows, times[WARMUP_CALLS:], None)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _timing(session: Session, what: str, rows: int, times: Sequence[float], flops: float | None) -> Timing:
    device, trainer = session.accelerator.device, session.config.trainer
    peak = device_peak_flops(device, trainer.precision, trainer.tf32)
    flops_per_second = None if flops is None else flops * len(times) / sum(times)
    p50, p99 = np.percentile(times, [50, 99])
    return Timing(
        what=what,
        rows=rows,
        times=len(times),
        p50=float(p50),
        p99=float(p99),
        samples_per_second=rows * len(times) / sum(times),
        flops_per_second=flops_per_second,
        mfu=None if flops_per_second is None or peak is None else flops_per_second / peak,
        peak_memory=cost.peak_memory(device),
    )
