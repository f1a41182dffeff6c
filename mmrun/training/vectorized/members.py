"""The runs that train together."""

from dataclasses import dataclass, field

import torch

from mmrun.training.callback import Callback
from mmrun.training.engine import Validate, finished
from mmrun.training.learner import Learner
from mmrun.training.nan_guard import NanGuard
from mmrun.training.state import Batches, FitConfig, TrainState
from mmrun.training.vectorized.learner_stack import Losses


@dataclass
class Member:
    """One of the runs that train together: what `engine.fit` is called with.

    Attributes:
        learner: bare, on the device.
        batches: of this run alone.
        optimizer: of this run alone; its state is a view of the stacked one.
        config: how long and how to train.
        state: where to start; updated in place.
        validate: returns the monitored value and all validation metrics.
        callback: of this run.
        guard: decides what happens where a loss is not finite.
        error: what ended the training of this run before the others.
        losses: of the last step, scalars.
    """

    learner: Learner
    batches: Batches
    optimizer: torch.optim.Optimizer
    config: FitConfig
    state: TrainState
    validate: Validate
    callback: Callback
    guard: NanGuard
    error: Exception | None = None
    losses: Losses = field(default_factory=dict)

    @property
    def trains(self) -> bool:
        """Whether there is another step to take."""
        return self.error is None and not finished(self.config, self.state)
