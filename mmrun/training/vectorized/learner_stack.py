"""Learners of one architecture as one. Shapes: S learners; what they share has no dimension S."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from mmrun.training.learner import Learner
from mmrun.training.vectorized.operations import StackedOperations
from mmrun.types import Batch

Losses = dict[str, Tensor]


class LearnerStack:
    """Learners of one architecture as one. Their parameters and buffers become views of stacked tensors.

    What is frozen and equal in all of them is computed with once.

    Args:
        learners: S of them, in training mode.
        collected: names of the buffers that change in a training step.
    """

    def __init__(self, learners: Sequence[Learner], collected: Collection[str]) -> None:
        self.learners = list(learners)
        self.trained: dict[str, nn.Parameter] = {}  # [S, ...]
        self.fixed: dict[str, Tensor] = {}  # [S, ...]; what is shared stays in the learners
        tensors = [dict([*learner.named_parameters(), *learner.named_buffers()]) for learner in learners]
        for name, first in tensors[0].items():
            stacked_tensors = [learner_tensors[name] for learner_tensors in tensors]
            if first.requires_grad:
                self.trained[name] = nn.Parameter(_stack_views(stacked_tensors))
            elif name in collected or not _may_share(name, stacked_tensors):
                self.fixed[name] = _stack_views(stacked_tensors)
        self._places = _list_places(self.learners[0], [*self.trained, *self.fixed])
        self._compute = vmap(self._compute_one, randomness="different")

    def compute_losses(self, batch: Batch) -> Losses:
        """Return the losses of all learners, each on its own batch, [S] by name.

        Args:
            batch: [S, B, ...]; it has no weights.
        """
        with StackedOperations():
            losses: Losses = self._compute([*self.trained.values(), *self.fixed.values()], batch[:4])
        return {name: loss.float() for name, loss in losses.items()}

    def _compute_one(self, tensors: list[Tensor], fields: tuple[object, ...]) -> Losses:
        by_name = {name: tensors[number] for name, number in self._places.items()}
        batch = Batch(*fields)  # type: ignore[arg-type]
        losses: Losses = functional_call(self.learners[0], by_name, (batch,), tie_weights=False)
        return losses

    def clip(self, max_norms: Tensor | None) -> None:
        """Clip the gradients of each learner to its own norm.

        Args:
            max_norms: [S], on the device; None: no gradients are clipped.
        """
        gradients = [parameter.grad for parameter in self.trained.values() if parameter.grad is not None]
        if max_norms is None or not gradients:
            return
        norms = torch.stack([torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in gradients]).norm(dim=0)
        factors = (max_norms / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.trained.values():
            parameter.grad = None


def _stack_views(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors, and let each of them be a view of the stack."""
    stacked = torch.stack([tensor.detach() for tensor in tensors])
    for tensor, view in zip(tensors, stacked, strict=True):
        tensor.data = view
    return stacked


def _list_places(learner: Learner, names: Sequence[str]) -> dict[str, int]:
    """Return where tensors stand in a learner, tied ones at several places; `functional_call` would search each step.

    Args:
        learner: has the tensors.
        names: of tensors, each under its first name.

    Returns:
        By name, also under later names, the position in `names`.
    """
    tensors = dict([*learner.named_parameters(), *learner.named_buffers()])
    numbers = {id(tensors[name]): number for number, name in enumerate(names)}
    places = [*learner.named_parameters(remove_duplicate=False), *learner.named_buffers(remove_duplicate=False)]
    return {name: numbers[id(tensor)] for name, tensor in places if id(tensor) in numbers}


def _may_share(name: str, tensors: Sequence[Tensor]) -> bool:
    """Return whether a tensor that is not trained is the same in all learners; that of an objective may yet move."""
    return name.startswith("model.") and all(torch.equal(tensors[0], tensor) for tensor in tensors[1:])
