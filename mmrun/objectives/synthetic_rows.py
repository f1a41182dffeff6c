"""How many training rows an objective made from others, for metrics.json."""

import torch
from torch import Tensor

from mmrun.objectives.gather import gather_rows
from mmrun.objectives.step_state import StepState


class SyntheticRows(StepState):
    """Counts rows that hold parts of several rows of the data set; rows of a skipped or repeated step do not count.

    Attributes:
        total: rows of the steps so far, int64.
    """

    total: Tensor
    in_step: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros((), dtype=torch.int64))
        self.register_buffer("in_step", torch.zeros((), dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def add(self, is_synthetic: Tensor) -> None:
        """Count the rows of a micro-batch, over all processes.

        Args:
            is_synthetic: of this process's rows, [B] bool.
        """
        self.in_step += gather_rows(is_synthetic).sum()

    @torch.no_grad()
    def end_step(self) -> None:
        """Add the rows of the step to the total."""
        self.total += self.in_step
        self.in_step.zero_()
