"""The loop that trains members: each step is a single computation on their stacked tensors. Shapes: S members."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor

from mmrun.training.engine import evaluate
from mmrun.training.vectorized.guard import StackedGuard
from mmrun.training.vectorized.learner_stack import LearnerStack, Losses
from mmrun.training.vectorized.members import Member
from mmrun.training.vectorized.updates import SeparateUpdates, StackedUpdate, build_update
from mmrun.types import Batch

LoadBatch = Callable[[Sequence[int], int], Batch]  # numbers of the learners, step -> [S, B, ...]


def fit_together(
    members: Sequence[Member],
    load_batch: LoadBatch,
    collected: Collection[str],
    accelerator: Accelerator,
    on_step_end: Callable[[], None],
) -> None:
    """Train members, all at the same step, until the budget of each is spent, or a callback or an error ends it.

    A member that ends leaves the stack; an error that concerns one member is stored in it.

    Args:
        members: S of them.
        load_batch: returns the batches of some members at a step.
        collected: names of the buffers that a step changes, from `find_collected`.
        accelerator: precision and device.
        on_step_end: is called when all members have taken a step, and those whose turn it is have saved it.
    """
    training = [member for member in members if member.trains]
    while training:
        stack = LearnerStack([member.learner for member in training], collected)
        update = build_update(stack, training)
        guard = StackedGuard(training)
        max_norms = _stack_max_norms(training, accelerator.device)
        numbers = [number for number, member in enumerate(members) if member in training]
        while all(member.trains for member in training):
            _step_together(training, stack, update, guard, max_norms, partial(load_batch, numbers))
            for member in training:
                _follow_up(member, accelerator)
            on_step_end()
        training = [member for member in training if member.trains]


def _step_together(
    members: Sequence[Member],
    stack: LearnerStack,
    update: StackedUpdate | SeparateUpdates,
    guard: StackedGuard,
    max_norms: Tensor | None,
    load_batch: Callable[[int], Batch],
) -> None:
    """Take one step of all members; each is charged an equal share of the time."""
    began = time.perf_counter()
    for member in members:
        progress = member.config.budget.spent(member.state.step, member.state.seconds)
        member.learner.on_step_start(progress)
        factor = member.config.lr_factor(progress) * member.state.lr_scale
        for group in member.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
    batch = load_batch(members[0].state.step)
    losses = stack.compute_losses(batch)
    losses["loss"].sum().backward()
    losses_of_members = split_losses(losses)
    guard.look(batch, losses["loss"].detach(), losses_of_members)
    stack.clip(max_norms)
    update.step()
    stack.zero_grad()
    seconds = (time.perf_counter() - began) / len(members)
    for member, member_losses in zip(members, losses_of_members, strict=True):
        if member.error is None:
            member.learner.on_step_end()
            member.losses = member_losses
            member.state.losses.add(member_losses)
            member.state.step += 1
            member.state.seconds += seconds


def _follow_up(member: Member, accelerator: Accelerator) -> None:
    """Call a member's callbacks after a step, and evaluate it where that is due."""
    if member.error is not None:
        return
    config, state = member.config, member.state
    try:
        member.callback.on_step_end(state, member.losses)
        if state.step % config.evaluate_every == 0 or config.budget.spent(state.step, state.seconds) >= 1:
            member.guard.check(member.batches)
            evaluate(member.learner, config, state, accelerator, member.validate, member.callback)
        member.callback.on_checkpoint(state)
    except Exception as error:  # the other members go on
        member.error = error


def _stack_max_norms(members: Sequence[Member], device: torch.device) -> Tensor | None:
    """Return the norm that the gradients of each member are clipped to, [S]; None: no gradients are clipped."""
    max_norms = [member.config.max_grad_norm for member in members]
    if all(norm is None for norm in max_norms):
        return None
    return torch.tensor([math.inf if norm is None else norm for norm in max_norms], device=device)


def split_losses(losses: Losses) -> list[Losses]:
    """Return the losses of each member, scalars.

    Args:
        losses: [S] by name.
    """
    by_name = {name: loss.detach().unbind() for name, loss in losses.items()}
    return [dict(zip(by_name, scalars, strict=True)) for scalars in zip(*by_name.values(), strict=True)]
