"""Agree with a steadier self about rows that nobody labelled."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.continuous import noisy
from mmrun.objectives.distill import anything
from mmrun.objectives.losses import summed
from mmrun.objectives.modality_dropout import leave_out
from mmrun.objectives.self_supervised import mean_over
from mmrun.objectives.task import Supervised
from mmrun.objectives.teacher import EMATeacher
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression
from mmrun.types import Batch, Objective
from mmrun.types import Task as AnyTask


class MeanTeacher(Objective):
    """Mean teacher (Tarvainen & Valpola, 2017): the answers are as those of a moving average of the model's weights.

    Both see noise of their own on continuous inputs; modalities are left out for the student alone. Disagreement, the
    squared distance of probabilities (of numbers: of these), counts `weight`, growing over the first `rampup` batches.
    Validation is the objective `task` with the student; a stage's `average` lets the averaged weights count instead.
    """

    step: Tensor

    def __init__(
        self,
        task: Callable[..., Supervised],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        model: Multimodal,
        decay: float = 0.99,
        weight: float = 1.0,
        rampup: int = 0,
        drop_prob: float = 0.25,
        noise: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        for key, share in (("decay", decay), ("drop_prob", drop_prob)):
            if not 0 <= share <= 1:
                raise ConfigError(f"objective.{key}: {share} is not between 0 and 1")
        self.task = task(tasks=tasks, kinds=kinds)
        self.tasks, self.kinds, self.noise = dict(tasks), dict(kinds), dict(noise or {})
        self.decay, self.weight, self.rampup, self.drop_prob = decay, weight, rampup, drop_prob
        self.teacher = EMATeacher(model)
        self.register_buffer("step", torch.zeros(()))  # training batches so far

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of `task` and loss/consistency; each training batch updates the teacher."""
        if not self.training:
            losses: dict[str, Tensor] = self.task(model, batch)
            return losses
        self.teacher.follow(model, 1 - (self.step / (self.step + 1)).clamp(max=self.decay))
        weight = self.weight * self._ramp()
        self.step += 1
        seen = noisy(batch, self.kinds, self.noise)._replace(present=leave_out(batch.present, self.drop_prob))
        outputs = self.task.predict(model, self.task.encode(model, seen.inputs), seen.present)
        said = self.teacher(noisy(batch, self.kinds, self.noise)).outputs
        losses = self.task.compute_losses(outputs, seen.present, batch.targets)
        each = []
        for head, by_task in outputs.heads.items():
            here = anything(seen.present) if head.modality is None else seen.present[head.modality]
            for name, task in self.tasks.items():
                distance = (told(task, by_task[name]) - told(task, said[name])).square().mean(1)
                each.append(mean_over(distance, here))
        consistency = summed(each)
        return {**losses, "loss": losses["loss"] + weight * consistency, "loss/consistency": consistency}

    def _ramp(self) -> Tensor | float:
        """Return the share of the weight that counts by now, exp(-5 (1 - t)^2) with t from 0 to 1."""
        if self.rampup == 0:
            return 1.0
        left = 1 - (self.step / self.rampup).clamp(max=1)
        return (-5 * left.square()).exp()


def told(task: AnyTask, output: Tensor) -> Tensor:  # [B, C] -> [B, C]
    """Return a task's predictions: probabilities, or standardised numbers."""
    if isinstance(task, Regression):
        return output.float()
    return output.float().sigmoid() if isinstance(task, Multilabel) else output.float().softmax(1)
