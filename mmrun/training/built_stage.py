"""One stage, ready to train: everything that the loop needs, in memory."""

from dataclasses import dataclass

import torch
from torch import nn

from mmrun.data.loader import Loader
from mmrun.head import Head
from mmrun.training.ema import EMA
from mmrun.training.interpolation import Interpolation
from mmrun.training.learner import Learner
from mmrun.training.stages import Stage
from mmrun.training.state import FitConfig, TrainState


@dataclass(frozen=True)
class FeatureCost:
    """What computing the features of frozen encoders cost, which is done once for each row.

    Attributes:
        modalities: whose features were computed.
        rows: training rows they were computed for.
        seconds: of encoding, whichever run did it.
        flops: of encoding.
    """

    modalities: list[str]
    rows: int
    seconds: float
    flops: float


@dataclass(frozen=True)
class BuiltStage:
    """A stage with its objects built. It knows no disk, no log and no terminal.

    Attributes:
        stage: what the stage is: name, config, modalities, trainable parameters.
        learner: model and objective.
        objective: class name of the objective.
        prepared: the learner as the devices run it (wrapped in DDP, sharded, or itself): what the loop calls.
        optimizer: over the trainable parameters.
        batches: the training rows.
        config: how long and how to train.
        ema: moving average of the trainable weights, or their interpolation with those at the start of the stage, which
            then is what counts; None: there is neither.
        heads: whose metrics are monitored; empty: the loss is.
        parts: parts of the model that the stage runs or trains (`encoder.image`, `fusion`, `head.label` ...).
        flops_per_step: of one forward and backward pass on all devices together.
        epoch_rows: training rows of the data set, all of them, which make an epoch.
        feature_cost: None where the stage reads inputs.
        is_main_process: whether this process writes files.
        monitored: validation metrics whose mean selects the best weights; empty: the loss does.
    """

    stage: Stage
    learner: Learner
    objective: str
    prepared: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Loader
    config: FitConfig
    ema: EMA | Interpolation | None
    heads: list[Head]
    parts: frozenset[str]
    flops_per_step: float
    epoch_rows: int
    feature_cost: FeatureCost | None = None
    is_main_process: bool = True
    monitored: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The stage's name: pretrain-image."""
        return self.stage.name

    @property
    def device(self) -> torch.device:
        """Where the stage trains."""
        return self.batches.device

    @property
    def batch_size(self) -> int:
        """Rows of an optimiser step, on all devices together."""
        return self.batches.batch_size

    def spent(self, state: TrainState) -> float:
        """Return the share of the budget that is spent, 0..1 and a little above.

        Args:
            state: how far the stage has come.
        """
        return self.config.budget.spent(state.step, state.seconds)

    def epochs(self, steps: int) -> float:
        """Return how many epochs some steps are: in one, every modality of every training row is read once.

        Args:
            steps: of the optimiser.
        """
        return steps * self.batch_size * self.stage.reads / self.epoch_rows
