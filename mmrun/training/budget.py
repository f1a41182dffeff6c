"""How long a stage may go on: its part of what the run may spend."""

import math
from dataclasses import asdict, dataclass

from mmrun.config import BudgetConfig
from mmrun.training.stages import Stage

DEFAULT_EPOCHS = 10.0


@dataclass(frozen=True)
class StageBudget:
    """The end of a stage: a number of optimiser steps, or a number of seconds."""

    steps: int | None = None
    seconds: float | None = None

    def spent(self, steps: int, seconds: float) -> float:
        """Give the part that is spent, 0..1 and above."""
        if self.steps is not None:
            return steps / self.steps
        assert self.seconds is not None
        return seconds / self.seconds


def chosen(budget: BudgetConfig) -> tuple[str, float]:
    """Give the unit and the amount of a budget: ("epochs", 10.0)."""
    for unit, amount in asdict(budget).items():
        if amount is not None:
            return unit, float(amount)
    return "epochs", DEFAULT_EPOCHS


def allowance(
    budget: BudgetConfig, stage: Stage, train_rows: int, batch_size: int, flops_per_step: float
) -> StageBudget:
    """Divide the budget: the stage's share, in steps of its own.

    A stage that reads a third of the modalities spends a third of a step or sample each, and so may take three times as
    many: `pretrain-image`, `-audio` and `-text` together cost as much as one joint stage of the same share.
    """
    unit, amount = chosen(budget)
    part = amount * stage.share
    if unit == "seconds":
        return StageBudget(seconds=part)
    step_costs = {
        "epochs": stage.reads * batch_size / train_rows,
        "samples": stage.reads * batch_size,
        "steps": stage.reads,
        "flops": flops_per_step,
    }
    return StageBudget(steps=max(1, math.floor(part / step_costs[unit] + 0.5)))
