"""What is done about a loss that is not finite, of all members at once. Shapes: S members."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmrun.training.vectorized.batches import select_member
from mmrun.training.vectorized.learner_stack import Losses
from mmrun.training.vectorized.members import Member
from mmrun.types import Batch


class StackedGuard:
    """Looks at the losses of all members at once; their gradients touch no other member.

    As in `NanGuard`, losses are read at once on a CPU. On a GPU, the first step whose loss is not finite is noted
    there, where each member's guard reads it before the member is evaluated or saved.

    Args:
        members: their guards get views of one tensor.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self.reads_at_once = members[0].guard.reads_at_once
        self.first_steps = torch.stack([member.guard.first_step for member in members])
        for member, first_step in zip(members, self.first_steps, strict=True):
            member.guard.first_step = first_step

    def look(self, batch: Batch, loss: Tensor, losses: Sequence[Losses]) -> None:
        """Store the error of each member whose loss is not finite, or note the step.

        Args:
            batch: [S, B, ...].
            loss: of all members, [S].
            losses: of each member, all of them.
        """
        is_finite = torch.isfinite(loss)
        if not self.reads_at_once:
            bad_steps = torch.where(is_finite, math.inf, float(self.members[0].state.step))
            torch.minimum(self.first_steps, bad_steps, out=self.first_steps)
            return
        if is_finite.all():
            return
        for number in (~is_finite).nonzero().flatten().tolist():
            member = self.members[number]
            try:
                member.guard.accepts(member.state.step, select_member(batch, number), losses[number])
            except Exception as error:
                member.error = error
