"""How fast a config trains and answers on this machine: steps of each stage, and batches and rows of its model."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmrun.config import RunConfig
from mmrun.run.estimate import Again, open_undecoded
from mmrun.run.metrics import Metrics
from mmrun.run.session import Callback, Session
from mmrun.run.stage import StageTraining
from mmrun.training import cost, engine, throughput
from mmrun.training.budget import StageBudget
from mmrun.training.grad_accumulation import first_rows
from mmrun.training.stages import Stage

WARM_UP = 3  # calls that are not counted
FEWEST = 5  # that are


@dataclass(frozen=True)
class Timing:
    """How long something takes, again and again."""

    what: str  # a stage's name, or "inference"
    rows: int  # that are treated at once
    times: int
    p50: float  # seconds
    p99: float
    samples_per_second: float
    flops_per_second: float | None  # None where they are not counted
    mfu: float | None  # of the device's peak, where that is known
    peak_memory: int  # bytes

    @property
    def row(self) -> float:  # seconds
        """Give the time a row takes among the others."""
        return self.p50 / self.rows


def bench(config: RunConfig, scratch: Path, watch: Callback, seconds: float) -> list[Timing]:
    """Time, for so many seconds each: a step of every stage, a batch of the whole model, and one row alone.

    Batches are at hand: what is timed is computing, not reading. The model's weights are of no matter here.
    """
    session = open_undecoded(config, scratch, watch)
    found = []
    for stage, learning in session.stages.values():
        watch.note(f"timing {stage.name}")
        found.append(_steps(session, stage, learning, seconds))
    watch.note("timing inference")
    session.model.eval()
    batch = next(session.ordered("val", session.columns))
    for rows in dict.fromkeys((len(batch.index), 1)):
        found.append(_answers(session, rows, seconds))
    return found


def _steps(session: Session, stage: Stage, learning: set[str], seconds: float) -> Timing:
    training = StageTraining(session, stage, learning)
    training.compile()
    clock = _Clock(session.accelerator.device)
    batches = Again([training.batches.batch(number) for number in range(2)])
    progress = engine.Progress()
    for number in (WARM_UP, FEWEST):
        _run(training, batches, progress, progress.step + number, clock)
    left = int((seconds - sum(clock.times[WARM_UP:])) / clock.median())
    if left > 0:
        _run(training, batches, progress, progress.step + left, clock)
    rows = session.config.trainer.batch_size
    return _timing(session, stage.name, rows, clock.times[WARM_UP:], training.flops)


def _run(training: StageTraining, batches: Again, progress: engine.Progress, until: int, clock: "_Clock") -> None:
    plan = replace(training.plan, allowance=StageBudget(steps=until), evaluate_every=10**9, schedule="constant")
    accelerator = training.session.accelerator
    nothing: Callable[[], tuple[float, Metrics]] = lambda: (0.0, {})  # noqa: E731
    clock.start()
    engine.fit(training.learner, batches, training.optimizer, plan, progress, accelerator, nothing, clock)


class _Clock:
    """Hears what the engine tells, and notes how long each step took, until the device had done it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []
        self.began = 0.0

    def start(self) -> None:
        _wait(self.device)
        self.began = time.perf_counter()

    def median(self) -> float:
        return float(np.median(self.times[WARM_UP:]))

    def stepped(self, progress: engine.Progress, losses: dict[str, Tensor]) -> None:
        _wait(self.device)
        self.times.append(time.perf_counter() - self.began)
        self.began = time.perf_counter()

    def cut(self, progress: engine.Progress) -> None: ...

    def evaluated(self, progress: engine.Progress, losses: Metrics, found: Metrics) -> None: ...

    def improved(self, progress: engine.Progress) -> None: ...

    def settled(self, progress: engine.Progress) -> None: ...


@torch.no_grad()
def _answers(session: Session, rows: int, seconds: float) -> Timing:
    """Time the whole model on its first validation rows."""
    device = session.accelerator.device
    batch = first_rows(next(session.ordered("val", session.columns)), rows)
    cost.reset_peak_memory(device)
    times: list[float] = []
    while len(times) < WARM_UP + FEWEST or sum(times[WARM_UP:]) < seconds:
        _wait(device)
        began = time.perf_counter()
        with session.accelerator.autocast():
            session.model(batch)
        _wait(device)
        times.append(time.perf_counter() - began)
    return _timing(session, "inference", rows, times[WARM_UP:], None)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _timing(session: Session, what: str, rows: int, times: Sequence[float], flops: float | None) -> Timing:
    device, trainer = session.accelerator.device, session.config.trainer
    peak = throughput.peak_of(device, trainer.precision, trainer.tf32)
    rate = None if flops is None else flops * len(times) / sum(times)
    p50, p99 = np.percentile(times, [50, 99])
    return Timing(
        what=what,
        rows=rows,
        times=len(times),
        p50=float(p50),
        p99=float(p99),
        samples_per_second=rows * len(times) / sum(times),
        flops_per_second=rate,
        mfu=None if rate is None or peak is None else rate / peak,
        peak_memory=cost.peak_memory(device),
    )
