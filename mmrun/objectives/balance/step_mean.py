"""A mean over the micro-batches of a step."""

import torch
from torch import Tensor

from mmrun.objectives.step_state import StepState


class StepMean(StepState):
    """Collects values in `forward` of an objective, for what moves in `on_step_end`.

    All processes add the same values.

    Args:
        shape: of the mean.
        count_shape: of the number of values in it, which is broadcast to `shape`.
    """

    total: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...], count_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(shape), persistent=False)
        self.register_buffer("count", torch.zeros(count_shape), persistent=False)

    @torch.no_grad()
    def add(self, total: Tensor, count: Tensor) -> None:
        """Add the values of a micro-batch.

        Args:
            total: their sum, shaped as the mean.
            count: their number; 0 where there are none.
        """
        self.total += total
        self.count += count

    def pop(self) -> tuple[Tensor, Tensor]:
        """Return the mean, and where there are values, bool; then start again."""
        mean, is_counted = self.total / self.count.clamp(min=1e-6), self.count > 0
        self.total.zero_()
        self.count.zero_()
        return mean, is_counted
