"""The loop. It is handed built objects, and knows no config file, no run folder and no terminal."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.amp import GradScaler

from mmrun.errors import RunError
from mmrun.training.budget import StageBudget
from mmrun.training.grad_accumulation import GradientAccumulator, first_rows
from mmrun.types import Batch, Objective


class Learner(nn.Module):
    """A model with the objective that teaches it, as one module: what DDP wraps, so that every gradient is averaged."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        saving: Callable[[], AbstractContextManager[Any]] = nullcontext,  # where activations wait for the backward pass
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.saving = saving

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Give the loss and its named parts."""
        with self.saving():
            losses: dict[str, Tensor] = self.objective(self.model, batch)
        return losses

    def train(self, mode: bool = True) -> "Learner":
        """Switch to training, except for parts in which nothing learns: no dropout there, fixed batch statistics."""
        super().train(mode)
        if mode:
            freeze_eval(self)
        return self


def freeze_eval(module: nn.Module) -> None:
    """Put every part that has parameters, none of which learns, into eval mode; an objective does train."""
    parameters = [] if isinstance(module, Objective) else list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        freeze_eval(child)


@dataclass(frozen=True)
class Plan:
    """How one stage is trained."""

    allowance: StageBudget
    evaluate_every: int  # steps
    higher_is_better: bool = False  # of the monitored figure
    schedule: str = "cosine"  # cosine | linear | constant
    warmup: float = 0.0  # of the allowance
    clip: float | None = None  # largest gradient norm
    accumulate: int = 1  # micro-batches a step
    patience: int | None = None  # evaluations without a better figure

    def rate(self, spent: float) -> float:
        """Give the factor on the learning rate when this part of the allowance is spent."""
        if spent < self.warmup:
            return (spent + 1e-2) / (self.warmup + 1e-2)
        left = 1.0 - (spent - self.warmup) / (1.0 - self.warmup)
        return {
            "constant": 1.0,
            "linear": left,
            "cosine": 0.5 * (1.0 + math.cos(math.pi * (1.0 - left))),
        }[self.schedule]


class RunningMean:
    """Sums of losses, kept on the device until they are asked for."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, losses: dict[str, Tensor]) -> None:
        """Add the losses of one step."""
        for name, loss in losses.items():
            value = loss.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1

    def means(self) -> dict[str, Tensor]:
        """Give the means since the last call."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


@dataclass
class Progress:
    """Where a stage stands: what, beside weights and random states, is needed to go on from here."""

    step: int = 0
    seconds: float = 0.0  # of training, evaluation not counted
    best: float | None = None  # the monitored figure
    best_step: int = 0
    stale: int = 0  # evaluations since then
    accumulate: int = 1  # micro-batches a step: as planned, or more where memory ran out
    tally: RunningMean = field(default_factory=RunningMean)  # losses since the last evaluation

    def state(self) -> dict[str, Any]:
        """Give all of it as JSON values."""
        sums = {name: total.item() for name, total in self.tally.sums.items()}
        return {**vars(self), "tally": {"sums": sums, "count": self.tally.count}}

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Progress":
        """Make what `state` was taken from."""
        progress = cls(**{key: value for key, value in state.items() if key != "tally"})
        progress.tally.sums = {name: torch.tensor(total) for name, total in state["tally"]["sums"].items()}
        progress.tally.count = state["tally"]["count"]
        return progress


class Batches(Protocol):
    """Where batches come from: a function of the step's number alone, so that training can start anywhere."""

    def batch(self, step: int) -> Batch:
        """Give the rows of one step."""
        ...


class Events(Protocol):
    """What the loop tells while it runs."""

    def cut(self, progress: Progress) -> None:
        """Memory ran out: from this step on a batch is cut into as many micro-batches as `progress.accumulate` says."""

    def stepped(self, progress: Progress, losses: dict[str, Tensor]) -> None:
        """One step was made; the losses are still on the device."""

    def evaluated(self, progress: Progress, losses: dict[str, float], figures: dict[str, float]) -> None:
        """Validation gave figures; `losses` are means over the steps since the last time."""

    def improved(self, progress: Progress) -> None:
        """The monitored figure is the best so far: keep these weights."""

    def settled(self, progress: Progress) -> None:
        """A step is complete and nothing is under way: a checkpoint can be taken."""


def fit(
    learner: nn.Module,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    progress: Progress,
    accelerator: Accelerator,
    validate: Callable[[], tuple[float, dict[str, float]]],
    events: Events,
) -> None:
    """Train until the allowance is spent or the figure no longer improves; `progress` says where to start and moves on.

    `learner` is as `accelerator.prepare` gave it; each group of the plain `optimizer` holds a `base_lr`.
    `validate` gives the monitored figure and all figures of the validation rows.
    """
    gradients = GradientAccumulator(
        learner, accelerator, max(plan.accumulate, progress.accumulate), partial(cut, progress, events)
    )
    learner.train()
    while not finished(plan, progress):
        began = time.perf_counter()
        factor = plan.rate(plan.allowance.spent(progress.step, progress.seconds))
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        losses = gradients.add(batches.batch(progress.step))
        apply(optimizer, learner, accelerator.scaler, plan.clip)
        progress.tally.add(losses)
        progress.step += 1
        progress.seconds += time.perf_counter() - began
        events.stepped(progress, losses)

        if progress.step % plan.evaluate_every == 0 or plan.allowance.spent(progress.step, progress.seconds) >= 1:
            began = time.perf_counter()  # what follows waits for the steps that a GPU has still to do
            means = {name: accelerator.reduce(mean, "mean").item() for name, mean in progress.tally.means().items()}
            progress.seconds += time.perf_counter() - began
            if not math.isfinite(means["loss"]):
                raise RunError(f"the loss is {means['loss']} after step {progress.step}; try a lower learning rate")
            learner.eval()
            figure, figures = validate()
            learner.train()
            judge(progress, figure, plan.higher_is_better)
            events.evaluated(progress, means, figures)
            if progress.stale == 0:
                events.improved(progress)
        events.settled(progress)


def cut(progress: Progress, events: Events, parts: int) -> None:
    """Note that a step takes more micro-batches than before."""
    progress.accumulate = parts
    events.cut(progress)


def apply(optimizer: torch.optim.Optimizer, learner: nn.Module, scaler: GradScaler | None, clip: float | None) -> None:
    """Let the optimiser use the gradients, and clear them. `scaler`: of fp16, which skips steps that overflowed.

    accelerate's own optimiser wrapper is left out: it looks for a package on disk at every step.
    """
    if scaler is not None:
        scaler.unscale_(optimizer)
    if clip is not None:
        nn.utils.clip_grad_norm_(learner.parameters(), clip)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    optimizer.zero_grad()


def finished(plan: Plan, progress: Progress) -> bool:
    """Tell whether a stage is over."""
    spent = plan.allowance.spent(progress.step, progress.seconds)
    return spent >= 1 or (plan.patience is not None and progress.stale >= plan.patience)


def judge(progress: Progress, figure: float, higher_is_better: bool) -> None:
    """Note whether a figure is the best so far; `stale` is 0 when it is."""
    better = progress.best is None or (figure > progress.best if higher_is_better else figure < progress.best)
    if better:
        progress.best, progress.best_step, progress.stale = figure, progress.step, 0
    else:
        progress.stale += 1


# ---------------------------------------------------------------------------------------------------- evaluation


@torch.no_grad()
def mean_losses(
    learner: nn.Module, batches: Iterator[tuple[Batch, int]], accelerator: Accelerator, seed: int
) -> dict[str, float]:
    """Give the mean losses over some rows, with random masks that are the same at each call.

    Each batch comes with how many of its rows count: the last ones may be there for an even share alone.
    """
    totals: dict[str, Tensor] = {}
    rows = 0
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        for batch, size in batches:
            for name, loss in learner(first_rows(batch, max(1, size))).items():
                totals[name] = totals.get(name, torch.zeros((), device=loss.device)) + loss.float() * size
            rows += size
    everywhere = accelerator.reduce(torch.tensor(float(rows), device=accelerator.device))
    return {name: (accelerator.reduce(total) / everywhere).item() for name, total in totals.items()}


Outputs = dict[str, dict[str, Tensor]]  # head ("" the fused one, else a modality's probe) -> task -> [N, C]


@torch.no_grad()
def predict(
    model: Any, heads: list[str], batches: Iterator[Batch], accelerator: Accelerator
) -> tuple[Outputs, dict[str, Tensor], Tensor]:
    """Give outputs, targets and row numbers, one of each row in ascending order, on the CPU of every process."""
    kept: list[tuple[Outputs, dict[str, Tensor], Tensor]] = []
    for batch in batches:
        with accelerator.autocast():
            outputs = {head: model(batch) if head == "" else model.unimodal(batch, head) for head in heads}
        kept.append((outputs, batch.targets, batch.index))
    gathered: Any = accelerator.gather(_concatenate(kept))
    outputs, targets, index = gathered
    rows, first = _first_of_each(index.cpu())
    return _pick(outputs, first), _pick(targets, first), rows


def _concatenate(items: list[Any]) -> Any:
    first = items[0]
    if isinstance(first, Tensor):
        return torch.cat([item.float() if item.is_floating_point() else item for item in items])
    if isinstance(first, dict):
        return {key: _concatenate([item[key] for item in items]) for key in first}
    return tuple(_concatenate([item[i] for item in items]) for i in range(len(first)))


def _first_of_each(index: Tensor) -> tuple[Tensor, Tensor]:
    """Give the distinct row numbers, ascending, and where each first stands: processes repeat rows to share evenly."""
    order = torch.argsort(index, stable=True)
    ascending = index[order]
    first = torch.ones_like(ascending, dtype=torch.bool)
    first[1:] = ascending[1:] != ascending[:-1]
    return ascending[first], order[first]


def _pick(value: Any, rows: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value.cpu()[rows]
    return {key: _pick(item, rows) for key, item in value.items()}
