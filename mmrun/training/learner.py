"""Model and objective as one module: what is trained, and what DDP wraps."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from mmrun.data.visible import count_visible, weigh_batch
from mmrun.models.multimodal import Multimodal
from mmrun.types import Batch, Objective


class Learner(nn.Module):
    """A model together with the objective that trains it.

    DDP has to wrap both: an objective that calls into a wrapped model would silently skip gradient averaging.

    Args:
        model: the multimodal model.
        objective: computes the losses of a batch from the model.
        saved_tensors: context in which the forward pass runs; it decides where activations wait for the backward pass.
    """

    def __init__(
        self,
        model: Multimodal,
        objective: Objective,
        saved_tensors: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.saved_tensors = saved_tensors
        self._objectives = [part for part in objective.modules() if isinstance(part, Objective)]  # outermost first

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its named parts, all scalars.

        Returns:
            `loss`, and its parts as `loss/<part>`.
        """
        with self.saved_tensors():
            losses: dict[str, Tensor] = self.objective(self.model, batch)
        return losses

    def prepare(self, batch: Batch) -> Batch:
        """Prepare a micro-batch; see `Objective.prepare`."""
        for objective in self._objectives:
            batch = objective.prepare(batch)
        return batch

    def count_visible(self, batch: Batch) -> Tensor:
        """Count the visible targets and the rows that the objectives' means are over; see `visible.count_visible`."""
        return count_visible(batch, self._masks(batch))

    def weigh(self, batch: Batch, counts: Tensor, total: Tensor) -> Batch:
        """Return a batch with the weights of its means; see `visible.weigh_batch`."""
        return weigh_batch(batch, self._masks(batch), counts, total)

    def on_step_start(self, progress: float) -> None:
        """Let the objectives follow their schedules; see `Objective.on_step_start`."""
        for objective in self._objectives:
            objective.on_step_start(progress)

    def on_step_end(self) -> None:
        """Update what moves with time in the objectives; see `Objective.on_step_end`."""
        for objective in self._objectives:
            objective.on_step_end(self.model)

    def train(self, mode: bool = True) -> "Learner":
        """Switch to training mode, except for frozen parts: they get no dropout and keep their batch statistics."""
        super().train(mode)
        if mode:
            freeze_eval(self)
        return self

    def _masks(self, batch: Batch) -> dict[str, Tensor]:
        masks: dict[str, Tensor] = {}
        for objective in self._objectives:
            masks |= objective.masks(batch)
        return masks


def freeze_eval(module: nn.Module) -> None:
    """Put every submodule whose parameters are all frozen into eval mode; objectives stay in training mode."""
    if not isinstance(module, Objective) and _is_frozen(module):
        module.eval()
        return
    for child in module.children():
        freeze_eval(child)


def _is_frozen(module: nn.Module) -> bool:
    """Return whether a module has parameters, and none of them is trained; nearly always the first one decides."""
    has_parameters = False
    for parameter in module.parameters():
        if parameter.requires_grad:
            return False
        has_parameters = True
    return has_parameters
