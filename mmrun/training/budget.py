"""How long a stage trains: its share of what the run may spend."""

import math
from dataclasses import asdict, dataclass

from mmrun.config import BudgetConfig
from mmrun.training.stages import Stage

DEFAULT_EPOCHS = 10.0
MIN_DEFAULT_STEPS = 60  # of a run without a budget: ten epochs of a few hundred rows are too few steps to learn from


@dataclass(frozen=True)
class StageBudget:
    """The end of a stage, either in optimiser steps or in seconds of training.

    Args:
        steps: optimiser steps, or None.
        seconds: of training, without evaluation, or None. Exactly one of the two is set.
    """

    steps: int | None = None
    seconds: float | None = None

    def spent(self, steps: int, seconds: float) -> float:
        """Return the share of the budget that is spent: 0..1, or above 1 when it is overspent.

        Args:
            steps: optimiser steps taken.
            seconds: of training so far.
        """
        if self.steps is not None:
            return steps / self.steps
        assert self.seconds is not None
        return seconds / self.seconds


def budget_unit(budget: BudgetConfig) -> tuple[str, float]:
    """Return the unit and the amount of a budget, for example ("epochs", 10.0).

    Returns:
        The first unit that is set, else epochs with DEFAULT_EPOCHS.
    """
    for unit, amount in asdict(budget).items():
        if amount is not None:
            return unit, float(amount)
    return "epochs", DEFAULT_EPOCHS


def is_default(budget: BudgetConfig) -> bool:
    """Return whether no unit is set: then a run has DEFAULT_EPOCHS, and at least MIN_DEFAULT_STEPS.

    Args:
        budget: what the whole run may spend.
    """
    return all(amount is None for amount in asdict(budget).values())


def stage_budget(
    budget: BudgetConfig, stage: Stage, train_rows: int, batch_size: int, flops_per_step: float
) -> StageBudget:
    """Return a stage's share of the budget, in steps of the stage.

    A stage that reads a third of the modalities spends a third of a step or sample for each of its own, and may take
    three times as many: `pretrain-image`, `-audio` and `-text` together cost as much as one joint stage of that share.
    Where no budget is set, few rows are read more than DEFAULT_EPOCHS times.

    Args:
        budget: what the whole run may spend.
        stage: its `share` and the share of modalities that it `reads` count.
        train_rows: training rows that make an epoch.
        batch_size: rows per optimiser step.
        flops_per_step: forward and backward, of this stage.
    """
    unit, amount = budget_unit(budget)
    share = amount * stage.share
    if unit == "seconds":
        return StageBudget(seconds=share)
    cost_of_step = {
        "epochs": stage.reads * batch_size / train_rows,
        "samples": stage.reads * batch_size,
        "steps": stage.reads,
        "flops": flops_per_step,
    }
    steps = max(1, math.floor(share / cost_of_step[unit] + 0.5))
    if is_default(budget):
        steps = max(steps, math.ceil(MIN_DEFAULT_STEPS * stage.share / stage.reads))
    return StageBudget(steps=steps)
