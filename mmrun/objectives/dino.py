"""Predict how an average of the encoder assigns one view of a row to prototypes, from other views."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.objectives.balance.step_mean import StepMean
from mmrun.objectives.gather import gather_rows
from mmrun.objectives.pretext import ScheduledPretext, concat_views
from mmrun.objectives.teacher import EMACopy
from mmrun.types import Features, Input
from mmrun.values import NonNegativeInt, PositiveFloat, Share, ShareBelow1, Width


class Dino(ScheduledPretext):
    """DINO (Caron et al., 2021): self-distillation without labels, over views of any kind of input.

    The teacher, a moving average of encoder and head, assigns two views to prototypes; the student predicts that from
    the other one, and from local views if there are any. Centring and sharpening of the teacher's outputs prevent a
    collapse. Differences from the paper: the teacher has no dropout; local views are as large as the others, so that
    any encoder can read them; the prototypes learn from the first step on; there is no weight decay schedule. Features
    can get better while the loss rises: set the stage's `keep=last`.

    Args:
        dim: width of the encoder's features.
        view: builds what draws a view of each row: one of the augmentations.
        local_view: builds what draws a view of a small part, which the teacher does not see.
        num_local: number of local views.
        num_prototypes: K.
        hidden_dim: width of the hidden layers of the head.
        bottleneck_dim: width of the space of the prototypes.
        student_temperature: of the student's softmax.
        teacher_temperature: of the teacher's softmax after `warmup`; the lower, the sharper.
        initial_temperature: of the teacher's softmax at first.
        warmup: share of the stage in which the teacher's temperature moves linearly.
        center_decay: of the mean of the teacher's outputs, per step.
        decay: of the teacher per step, at first; it grows to 1 by a cosine.

    Raises:
        ConfigError: `num_local` and `local_view` do not fit each other.
    """

    alone = True
    center: Tensor

    moving_target = True

    def __init__(
        self,
        dim: int,
        view: Callable[[], nn.Module],
        local_view: Callable[[], nn.Module] | None = None,
        num_local: NonNegativeInt = 0,
        num_prototypes: Width = 256,
        hidden_dim: Width = 256,
        bottleneck_dim: Width = 64,
        student_temperature: PositiveFloat = 0.1,
        teacher_temperature: PositiveFloat = 0.04,
        initial_temperature: PositiveFloat = 0.04,
        warmup: Share = 0.3,
        center_decay: ShareBelow1 = 0.9,
        decay: Share = 0.99,
    ) -> None:
        super().__init__()
        if num_local > 0 and local_view is None:
            raise ConfigError(
                f"num_local={num_local} needs a local_view, which draws them; add it, or set num_local to 0"
            )
        self.view, self.local_view = view(), None if local_view is None else local_view()
        self.num_local = num_local
        self.student_temperature = student_temperature
        self.initial_temperature, self.teacher_temperature = initial_temperature, teacher_temperature
        self.warmup, self.center_decay, self.decay = warmup, center_decay, decay
        self.head = _Head(dim, hidden_dim, bottleneck_dim, num_prototypes)
        self.teacher_head = EMACopy(self.head)
        self.register_buffer("center", torch.zeros(num_prototypes))
        self.step_mean = StepMean((num_prototypes,), ())

    def attach(self, encoder: nn.Module) -> None:
        """Start the teacher as a copy of the encoder."""
        self.teacher_encoder = EMACopy(encoder, batch_statistics=True)

    def update(self, encoder: nn.Module) -> None:
        """Move the teacher towards the encoder and the head, and the centre towards the teacher's mean output."""
        rate = (1 - self.decay) * (1 + torch.cos(math.pi * self.progress)) / 2
        self.teacher_encoder.update(encoder, rate)
        self.teacher_head.update(self.head, rate)
        mean, is_counted = self.step_mean.pop()
        self.center.lerp_(mean, is_counted * (1 - self.center_decay))

    def corrupt(self, x: Input, present: Tensor) -> tuple[Input, Tensor]:
        """Return V views of each row [VB], and the teacher's assignment of the first two to prototypes [2, B, K].

        Args:
            x: of B rows.
            present: [B] bool; other rows do not count in the centre.
        """
        first, second = self.view(x), self.view(x)
        local_views = [] if self.local_view is None else [self.local_view(x) for _ in range(self.num_local)]
        with torch.no_grad():
            outputs = self.teacher_head(self.teacher_encoder(concat_views(first, second)).pooled).float()  # [2B, K]
            if self.training:
                self._collect(outputs, present.repeat(2))
            temperature = self.warm_up(self.initial_temperature, self.teacher_temperature, self.warmup)
            assigned = ((outputs - self.center) / temperature).softmax(-1)
        return concat_views(first, second, *local_views), assigned.unflatten(0, (2, len(present)))

    def loss(self, features: Features, target: Tensor) -> Tensor:
        """Return the cross-entropy between teacher and student, the mean over the pairs of different views, [B].

        Args:
            features: of V views, pooled [VB, D].
            target: that `corrupt` returned.
        """
        logits = self.head(features.pooled).float() / self.student_temperature
        return cross_view_entropy(target, logits.log_softmax(-1).unflatten(0, (-1, target.shape[1])))

    def _collect(self, outputs: Tensor, rows: Tensor) -> None:
        """Add the teacher's outputs [2B, K] of present rows, over all processes, to the mean of the step."""
        total, count = outputs.where(rows.unsqueeze(1), 0).sum(0, keepdim=True), rows.sum(0, keepdim=True).float()
        self.step_mean.add(gather_rows(total).sum(0), gather_rows(count).sum(0))


def cross_view_entropy(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the cross-entropy of each row, averaged over the pairs of a teacher's and another student's view, [B].

    Args:
        teacher: probabilities [2, B, K].
        student: log-probabilities [V, B, K], of the teacher's views first.
    """
    all_pairs = (teacher.sum(0) * student.sum(0)).sum(-1)  # a sum over pairs is a product of sums
    same_views = (teacher * student[: len(teacher)]).sum((0, -1))
    return (same_views - all_pairs) / (len(teacher) * (len(student) - 1))


class _Head(nn.Module):
    """An MLP onto the unit sphere, and cosines to prototypes: a last layer whose weight is normalised, of norm 1."""

    def __init__(self, dim: int, hidden_dim: int, bottleneck_dim: int, num_prototypes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, bottleneck_dim),
        )
        for layer in self.layers[::2]:
            assert isinstance(layer, nn.Linear)
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)  # a bias would be most of the output, which is brought to length 1
        self.prototypes = nn.Parameter(torch.randn(num_prototypes, bottleneck_dim))

    def forward(self, pooled: Tensor) -> Tensor:  # [N, dim] -> [N, K]
        return F.linear(F.normalize(self.layers(pooled), dim=-1), F.normalize(self.prototypes, dim=-1))
