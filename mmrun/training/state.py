"""How a stage is trained, and how far it has come."""

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from mmrun.training.budget import StageBudget
from mmrun.types import Batch


class Batches(Protocol):
    """A source of training batches. A batch depends on the step alone, so that training can start at any step."""

    def batch(self, step: int) -> Batch:
        """Return the batch of one optimiser step.

        Args:
            step: from 0.
        """
        ...


@dataclass(frozen=True)
class FitConfig:
    """How one stage is trained.

    Attributes:
        budget: when the stage ends.
        evaluate_every: optimiser steps between two evaluations.
        higher_is_better: direction of the monitored value.
        schedule: of the learning rate: cosine, linear or constant.
        warmup: share of the budget during which the learning rate grows to its full value.
        max_grad_norm: gradients are clipped to this norm; None: they are not clipped.
        grad_accum_steps: micro-batches per optimiser step.
    """

    budget: StageBudget
    evaluate_every: int
    higher_is_better: bool = False
    schedule: str = "cosine"
    warmup: float = 0.0
    max_grad_norm: float | None = None
    grad_accum_steps: int = 1

    def lr_factor(self, spent: float) -> float:
        """Return the factor on the learning rate.

        Args:
            spent: share of the budget that is spent, 0..1.
        """
        if spent < self.warmup:
            return (spent + 1e-2) / (self.warmup + 1e-2)
        remaining = 1.0 - (spent - self.warmup) / (1.0 - self.warmup)
        return {
            "constant": 1.0,
            "linear": remaining,
            "cosine": 0.5 * (1.0 + math.cos(math.pi * (1.0 - remaining))),
        }[self.schedule]


class RunningMean:
    """Means of losses, each over the steps that had it. The sums stay on the device until the means are read."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        """Add the losses of one step.

        Args:
            losses: scalars, by name.
        """
        for name, loss in losses.items():
            value = loss.detach().float()
            # A copy, as the next replay of a CUDA graph overwrites the losses of this step
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def pop(self) -> dict[str, Tensor]:
        """Return the means since the last call, and start anew.

        Returns:
            By name, scalars on the device.
        """
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, object]:
        """Return the sums and their counts as JSON values."""
        return {"sums": {name: total.item() for name, total in self.sums.items()}, "counts": self.counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.sums = {name: torch.tensor(total) for name, total in state["sums"].items()}
        self.counts = state["counts"] if "counts" in state else dict.fromkeys(self.sums, state["count"])  # till 0.1.0


@dataclass
class TrainState:
    """How far a stage has come: what resuming needs beside weights, optimiser and random states.

    Attributes:
        step: optimiser steps taken.
        seconds: training time; evaluation is not counted.
        best: best monitored value so far.
        best_step: step of that value.
        stale: evaluations since then.
        grad_accum_steps: micro-batches per step: as configured, or more after memory ran out.
        should_stop: set by a callback to end the stage after this step.
        losses: mean losses since the last evaluation.
        lr_scale: factor on every learning rate, halved each time that training went back.
    """

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    grad_accum_steps: int = 1
    should_stop: bool = False
    losses: RunningMean = field(default_factory=RunningMean)
    lr_scale: float = 1.0

    def update_best(self, value: float, higher_is_better: bool) -> bool:
        """Compare a monitored value with the best one, and return whether it is at least as good.

        Of equal values the later one is the best: its weights were trained longer. It does not end a wait for a better
        one. A value that is not finite is never the best, and the first finite one after it is.

        Args:
            value: of the evaluation after step `self.step`.
            higher_is_better: direction of the value.
        """
        has_best = self.best is not None and math.isfinite(self.best)
        is_better = not has_best or (value > self.best if higher_is_better else value < self.best)  # type: ignore[operator]
        is_best = math.isfinite(value) and (is_better or value == self.best)
        if is_best:
            self.best, self.best_step = value, self.step
        self.stale = 0 if is_best and is_better else self.stale + 1
        return is_best

    def state_dict(self) -> dict[str, object]:
        """Return everything as JSON values."""
        return {**vars(self), "losses": self.losses.state_dict()}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "TrainState":
        """Restore what `state_dict` returned.

        Args:
            state: that `state_dict` returned.
        """
        restored = cls(**{name: value for name, value in state.items() if name != "losses"})
        restored.losses.load_state_dict(state["losses"])
        return restored
