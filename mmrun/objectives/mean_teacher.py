"""Mean teacher: agree with an average of one's own weights, on unlabelled rows as well."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import drop_modalities
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.continuous import add_noise
from mmrun.objectives.distill import select_present
from mmrun.objectives.losses import masked_mean, sum_losses
from mmrun.objectives.task import ModelOutputs, Supervised
from mmrun.objectives.teacher import EMATeacher
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression
from mmrun.types import ALL, Batch, Objective
from mmrun.types import Task as AnyTask
from mmrun.values import NonNegativeFloat, NonNegativeInt, Share


class MeanTeacher(Objective):
    """Mean teacher (Tarvainen & Valpola, 2017): predictions agree with those of a moving average of the weights.

    The consistency loss is the mean squared distance of probabilities, or of standardised numbers. Student and teacher
    see different noise on continuous inputs; modalities are dropped for the student alone. Validation is that of the
    objective `task` with the student's weights; set the stage's `ema_decay` to validate averaged ones.

    Args:
        task: builds the supervised objective.
        tasks: the tasks by name.
        kinds: kind of each modality.
        model: the student; the teacher starts as a copy of it.
        decay: of the teacher's weights per step, 0..1; smaller in the first steps.
        weight: of the consistency loss.
        rampup: steps over which the weight grows from almost 0; 0: it is the same throughout.
        drop_prob: probability that a modality of a row is dropped for the student.
        noise: standard deviation of the noise on continuous inputs, by kind.

    Raises:
        ConfigError: `decay` or `drop_prob` is out of range.
    """

    step: Tensor

    def __init__(
        self,
        task: Callable[..., Supervised],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        model: Multimodal,
        decay: Share = 0.99,
        weight: NonNegativeFloat = 1.0,
        rampup: NonNegativeInt = 0,
        drop_prob: Share = 0.25,
        noise: Mapping[str, NonNegativeFloat] | None = None,
    ) -> None:
        super().__init__()
        for key, share in (("decay", decay), ("drop_prob", drop_prob)):
            if not 0 <= share <= 1:
                raise ConfigError(f"objective.{key}: {share} is not between 0 and 1")
        self.task = task(tasks=tasks, kinds=kinds)
        self.returns_task_losses = self.task.returns_task_losses
        self.tasks, self.kinds, self.noise = dict(tasks), dict(kinds), dict(noise or {})
        self.decay, self.weight, self.rampup, self.drop_prob = decay, weight, rampup, drop_prob
        self.teacher = EMATeacher(model)
        self.register_buffer("step", torch.zeros(()))  # optimiser steps so far

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of `task` and loss/consistency.

        Args:
            model: the student.
            batch: inputs and targets.
        """
        if not self.training:
            losses: dict[str, Tensor] = self.task(model, batch)
            return losses
        weight = self.weight * self._ramp()
        noisy = add_noise(batch, self.kinds, self.noise)
        present = drop_modalities(batch.present, self.drop_prob)
        outputs = self.task.predict(model, self.task.encode(model, noisy.inputs), present)
        teacher_outputs = self.teacher(add_noise(batch, self.kinds, self.noise)).outputs
        dropped = batch._replace(present=present)
        losses = self.task.compute_losses(outputs, dropped)
        consistency = self._consistency(outputs, teacher_outputs, dropped)
        return {**losses, "loss": losses["loss"] + weight * consistency, "loss/consistency": consistency}

    def on_step_end(self, model: nn.Module) -> None:
        """Move the teacher towards the student, and the ramp by a step."""
        self.step += 1
        self.teacher.update(model, 1 - (self.step / (self.step + 1)).clamp(max=self.decay))

    def _consistency(self, outputs: ModelOutputs, teacher_outputs: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return the distance between the predictions of student and teacher, summed over heads and tasks."""
        losses = []
        for head, by_task in outputs.heads.items():
            modality = ALL if head.modality is None else head.modality
            rows = select_present(batch.present, modality)
            for name, task in self.tasks.items():
                difference = apply_activation(task, by_task[name]) - apply_activation(task, teacher_outputs[name])
                mean = masked_mean(difference.square().mean(1), rows)
                losses.append(batch.weigh(mean, modality=modality))
        return sum_losses(losses)

    def _ramp(self) -> Tensor | float:
        """Return the factor on the weight, exp(-5 (1 - t)^2), with t growing from 0 to 1 over `rampup` steps."""
        if self.rampup == 0:
            return 1.0
        remaining = 1 - (self.step / self.rampup).clamp(max=1)
        return (-5 * remaining.square()).exp()


def apply_activation(task: AnyTask, output: Tensor) -> Tensor:
    """Return a task's predictions in fp32: probabilities, or standardised numbers.

    Args:
        task: regressions have no activation, labels get a sigmoid and classes a softmax.
        output: [B, C].
    """
    if isinstance(task, Regression):
        return output.float()
    return output.float().sigmoid() if isinstance(task, Multilabel) else output.float().softmax(1)
