"""Learn from what a trained model says: its soft answers, its vectors, its tokens."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import one_of, summed
from mmrun.objectives.self_supervised import mean_over, need_every
from mmrun.objectives.task import ModelOutputs, Probe, Supervised
from mmrun.objectives.teacher import Teacher, TeacherOutputs, frozen
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression
from mmrun.types import Batch, Encoder, Features, Objective
from mmrun.types import Task as AnyTask

LEVELS = ("fused", "pooled", "tokens")


class Distill(Objective):
    """Knowledge distillation (Hinton et al., 2015): the targets count 1 - alpha, the teacher's soft answers alpha.

    `teacher`: a finished run, by name; None: the model as the stage finds it. The student is what `task` reads: the
    fused model (objective task), or each encoder with its probe (objective probe), a multimodal teacher of unimodal
    students. Rows whose target is hidden learn from the teacher alone.
    `match`: what else shall be as the teacher's (FitNets: Romero et al., 2015), through a linear map where widths
    differ: the fused vector (a probe's student: its pooled one), each encoder's pooled vector, each encoder's tokens.
    """

    def __init__(
        self,
        task: Callable[..., Supervised],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        dims: Mapping[str, int],
        fusion_dim: int,
        model: Multimodal,
        open_run: Callable[[str], Multimodal],
        teacher: str | None = None,
        temperature: float = 4.0,
        alpha: float = 0.5,
        match: Sequence[str] = (),
        match_weight: float = 1.0,
    ) -> None:
        super().__init__()
        need_every("objective", kinds, dims)
        if temperature <= 0:
            raise ConfigError(f"objective.temperature: {temperature} is not above 0")
        if not 0 <= alpha <= 1:
            raise ConfigError(f"objective.alpha: {alpha} is not between 0 and 1")
        for level in match:
            one_of("objective.match", level, LEVELS)
        self.task = task(tasks=tasks, kinds=kinds)
        self.tasks = dict(tasks)
        self.temperature, self.alpha = temperature, alpha
        self.teacher = frozen(model) if teacher is None else Teacher(open_run(teacher))
        alone = self.task.modalities if isinstance(self.task, Probe) else []
        self.match = Match(self.teacher.model, match, dims, fusion_dim, alone) if match else None
        self.match_weight = match_weight

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts: loss/hard, loss/soft, loss/match."""
        features = self.task.encode(model, batch.inputs)
        outputs = self.task.predict(model, features, batch.present)
        said = self.teacher(batch)
        parts = {
            "loss/hard": self.task.compute_losses(outputs, batch.present, batch.targets)["loss"],
            "loss/soft": self._soft(outputs, said, batch.present),
        }
        loss = (1 - self.alpha) * parts["loss/hard"] + self.alpha * parts["loss/soft"]
        if self.match is not None:
            parts["loss/match"] = self.match(features, outputs.fused, said, batch.present)
            loss = loss + self.match_weight * parts["loss/match"]
        return {"loss": loss, **parts}

    def _soft(self, outputs: ModelOutputs, said: TeacherOutputs, present: dict[str, Tensor]) -> Tensor:
        """Sum up how far the answers are from the teacher's, over tasks and heads."""
        each = []
        for head, by_task in outputs.heads.items():
            here = anything(present) if head.modality is None else present[head.modality]
            for name, task in self.tasks.items():
                each.append(mean_over(apart(task, by_task[name], said.outputs[name], self.temperature), here))
        return summed(each)


def apart(task: AnyTask, output: Tensor, wanted: Tensor, temperature: float) -> Tensor:  # [B, C], [B, C] -> [B]
    """Return each row's distance to the target.

    Classes: the divergence of the softened probabilities, labels: the cross-entropy of each, both times the squared
    temperature, so that gradients keep their size; numbers: the squared error.
    """
    output, wanted = output.float(), wanted.float()
    if isinstance(task, Regression):
        return (output - wanted).square().mean(1)
    output, wanted = output / temperature, wanted / temperature
    if isinstance(task, Multilabel):
        each = F.binary_cross_entropy_with_logits(output, wanted.sigmoid(), reduction="none")
        return temperature**2 * each.mean(1)
    each = F.kl_div(output.log_softmax(1), wanted.log_softmax(1), reduction="none", log_target=True)
    return temperature**2 * each.sum(1)


class Match(nn.Module):
    """Mean squared distance of a student's vectors and tokens from a teacher's; owns what brings them to one width.

    `alone`: the encoders that learn each by itself; then the pooled vector of each is held to the teacher's fused one.
    """

    def __init__(
        self, teacher: Multimodal, levels: Sequence[str], dims: Mapping[str, int], fusion_dim: int, alone: Sequence[str]
    ) -> None:
        super().__init__()
        encoders = cast(Mapping[str, Encoder], teacher.encoder)
        shared = [modality for modality in alone or dims if modality in encoders]
        self.pairs: list[tuple[str, str]] = []  # level, modality ("" the fused one)
        for level in levels:
            self.pairs += [(level, modality) for modality in ((alone or [""]) if level == "fused" else shared)]
        own = {"": fusion_dim, **dims}
        self.project = nn.ModuleList()
        for level, modality in self.pairs:
            wanted = teacher.fusion.dim if level == "fused" else encoders[modality].dim
            same = own[modality] == wanted
            self.project.append(nn.Identity() if same else nn.Linear(own[modality], wanted))

    def forward(
        self, features: dict[str, Features], fused: Tensor | None, said: TeacherOutputs, present: dict[str, Tensor]
    ) -> Tensor:
        """Average over all that is compared."""
        mine, here = {name: own.pooled for name, own in features.items()}, {**present, "": anything(present)}
        if fused is not None:
            mine[""] = fused
        each = []
        for (level, modality), project in zip(self.pairs, self.project, strict=True):
            if level == "tokens":
                own, other = features[modality], said.features[modality]
                if own.tokens is not None and other.tokens is not None:
                    each.append(mean_over(_between_tokens(modality, project, own, other), here[modality]))
                continue
            wanted = said.fused if level == "fused" else said.features[modality].pooled
            distance = (project(mine[modality]).float() - wanted.float()).square().mean(1)
            each.append(mean_over(distance, here[modality]))
        if not each:
            raise ConfigError(
                "objective.match: no encoder of both student and teacher has tokens; match pooled instead"
            )
        return torch.stack(each).mean()


def anything(present: dict[str, Tensor]) -> Tensor:  # [B]
    """Return which rows have any modality."""
    return torch.stack(list(present.values())).any(0)


def _between_tokens(modality: str, project: nn.Module, own: Features, other: Features) -> Tensor:  # [B]
    """Compare token by token, over those that are real in both."""
    assert own.tokens is not None
    assert other.tokens is not None
    if own.tokens.shape[1] != other.tokens.shape[1]:
        raise ConfigError(
            f"objective.match: encoder.{modality} gives {own.tokens.shape[1]} tokens and the teacher's "
            f"{other.tokens.shape[1]}; take tokens out"
        )
    distance = (project(own.tokens).float() - other.tokens.float()).square().mean(2)
    real = torch.ones_like(distance, dtype=torch.bool)  # [B, T]
    for mask in (own.mask, other.mask):
        real = real if mask is None else real & mask
    return distance.where(real, 0).sum(1) / real.sum(1).clamp(min=1)
