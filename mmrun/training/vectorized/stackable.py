"""Whether learners can be computed as one, and how many at a time: a step is tried.

Shapes: S learners.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmrun.objectives.augment import Augment
from mmrun.objectives.step_state import StepState
from mmrun.training import checkpoint
from mmrun.training.dry_run import no_side_effects
from mmrun.training.learner import Learner
from mmrun.training.vectorized.batches import select_member
from mmrun.training.vectorized.learner_stack import LearnerStack, Losses
from mmrun.types import Batch, Objective

CACHE = 2**20  # bytes of a core's cache that the largest feature map of a learner may take
# Of losses and gradients, relative to the largest: sums are in another order than in a single run
TOLERANCE = 1e-3
ROUNDED_TOLERANCE = 0.2  # where products are rounded to TF32 or bf16, so that a unit may cross the kink of its ReLU


class NotStackableError(Exception):
    """Some learners cannot be computed as one; the text says why."""


def find_collected(learners: Sequence[Learner], batch: Batch, tolerance: float = TOLERANCE) -> set[str]:
    """Try a step of a stack of learners, and return the names of the buffers that it changes. Nothing else changes.

    Where a step draws no random numbers, losses and gradients must be those of each learner alone; a step that draws
    some is compared in evaluation mode, if it draws none there.

    Args:
        learners: S of them, in training mode.
        batch: [S, B, ...].
        tolerance: of losses and gradients, relative to the largest.

    Raises:
        NotStackableError: they cannot be computed as one.
        torch.OutOfMemoryError: memory does not hold a step of so many, with the state of their optimizers.
    """
    first = learners[0]
    _check_objective(first)
    alone = _try_alone(first, select_member(batch, 0))
    stack = LearnerStack(learners, alone.collected)
    _compare(alone, stack, batch, tolerance)
    if alone.is_random:
        first.eval()
        _compare(_try_alone(first, select_member(batch, 0)), stack, batch, tolerance)
        first.train()
    return alone.collected


def choose_size(module: nn.Module, batch: Batch, number: int) -> int:
    """Return how many learners to train at a time, so that a step of each takes the least time.

    Small layers gain from being computed together, the more the better. On a CPU, feature maps of convolutions do not
    fit into its cache together, unless they are small.

    Args:
        module: one of them, or its model.
        batch: of this one.
        number: of learners.
    """
    sizes: list[int] = []

    def note_size(convolution: nn.Module, inputs: object, output: Tensor) -> None:
        sizes.append(output.numel() * output.element_size())

    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Conv3d)]
    hooks = [convolution.register_forward_hook(note_size) for convolution in convolutions]
    with no_side_effects(module, batch.index.device), torch.no_grad():
        module(batch)
    for hook in hooks:
        hook.remove()
    if not sizes or batch.index.device.type != "cpu":
        return number
    return min(number, 2) if max(sizes) <= CACHE else 1


def _check_objective(learner: Learner) -> None:
    """Reject an objective whose gradients are not those of its loss, or that keeps what a step has collected."""
    for part in learner.objective.modules():
        if isinstance(part, Objective) and type(part).backward not in (Objective.backward, Augment.backward):
            raise NotStackableError(f"{type(part).__name__} computes its gradients itself")
        if isinstance(part, StepState):
            raise NotStackableError(f"{type(learner.objective).__name__} collects values during a step")


@dataclass(frozen=True)
class _Trial:
    """A step of one learner: its losses, its gradients by parameter, the buffers that it changed."""

    losses: Losses
    gradients: dict[str, Tensor]
    collected: set[str]
    is_random: bool


def _try_alone(learner: Learner, batch: Batch) -> _Trial:
    before = {name: buffer.clone() for name, buffer in learner.named_buffers()}
    with no_side_effects(learner, batch.index.device):
        random_state = _random_state(batch.index.device)
        losses = learner(batch)
        losses["loss"].backward()
        is_random = not torch.equal(random_state, _random_state(batch.index.device))
        gradients = {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}
        collected = {name for name, buffer in learner.named_buffers() if not torch.equal(buffer, before[name])}
    return _Trial({name: loss.detach().float() for name, loss in losses.items()}, gradients, collected, is_random)


def _compare(alone: _Trial, stack: LearnerStack, batch: Batch, tolerance: float) -> None:
    """Try a step of the stack; where no random numbers are drawn, compare it with that of the first learner alone."""
    collected = {name: tensor.clone() for name, tensor in stack.fixed.items() if name in alone.collected}
    try:
        optimizer_state = [torch.empty_like(p) for p in stack.trained.values() for _ in range(2)]  # of AdamW
        with no_side_effects(stack.learners[0], batch.index.device):
            losses = stack.compute_losses(batch)
            losses["loss"].sum().backward()
        del optimizer_state
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise NotStackableError(str(error).strip().partition("\n")[0]) from None
    finally:
        for name, tensor in collected.items():
            stack.fixed[name].copy_(tensor)
    stacked = {name: parameter.grad[0] for name, parameter in stack.trained.items() if parameter.grad is not None}
    stack.zero_grad()
    if alone.is_random:
        return
    first = {name: loss[0].detach() for name, loss in losses.items()}
    if not (_are_close(alone.losses, first, tolerance) and _are_close(alone.gradients, stacked, tolerance)):
        raise NotStackableError("losses or gradients differ from those of a single run")


def _are_close(expected: dict[str, Tensor], actual: dict[str, Tensor], tolerance: float) -> bool:
    """Return whether tensors are equal up to rounding, relative to the largest number in them."""
    expected = {name: tensor for name, tensor in expected.items() if tensor.numel() > 0}
    if not expected.keys() <= actual.keys():
        return False
    largest = max((tensor.abs().max().item() for tensor in expected.values()), default=0.0)
    differences = [(tensor - actual[name]).abs().max().item() for name, tensor in expected.items()]
    return all(difference <= tolerance * largest for difference in differences)


def _random_state(device: torch.device) -> Tensor:
    return torch.cat(list(checkpoint.random_state(device).values()))
