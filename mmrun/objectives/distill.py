"""Knowledge distillation: learn from the soft predictions, vectors and tokens of a trained model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import check_choice, masked_mean, sum_losses
from mmrun.objectives.self_supervised import require_all_modalities
from mmrun.objectives.task import ModelOutputs, Probe, Supervised
from mmrun.objectives.teacher import Teacher, TeacherOutputs, freeze_copy
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression
from mmrun.types import ALL, Batch, Encoder, Features, Objective
from mmrun.types import Task as AnyTask
from mmrun.values import NonNegativeFloat, PositiveFloat, Share

LEVELS = ("fused", "pooled", "tokens")


class Distill(Objective):
    """Knowledge distillation (Hinton et al., 2015): (1 - alpha) * loss to the targets + alpha * loss to the teacher.

    The student is what `task` trains: the fused model (objective task), or each encoder with its probe (objective
    probe), which distills a multimodal teacher into unimodal students. Rows whose target is hidden learn from the
    teacher alone.

    Args:
        task: builds the supervised objective of the student.
        tasks: the tasks by name.
        kinds: kind of each modality that the stage reads.
        dims: width of the features of each encoder.
        fusion_dim: width of the fused vector.
        model: as it is when the stage starts.
        open_run: returns the model of a finished run.
        teacher: a finished run, by name or folder; None: a frozen copy of `model`.
        temperature: softens the outputs of both sides.
        alpha: weight of the teacher, 0..1.
        match: features that are matched as well (FitNets: Romero et al., 2015), of "fused" (for a probe, its pooled
            vector is matched to the teacher's fused one), "pooled" and "tokens"; through a linear map where widths
            differ.
        match_weight: of the matching loss.

    Raises:
        ConfigError: an argument is out of range, or the stage does not read every modality.
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
        temperature: PositiveFloat = 4.0,
        alpha: Share = 0.5,
        match: Sequence[Literal["fused", "pooled", "tokens"]] = (),
        match_weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        require_all_modalities("objective", kinds, dims)
        if temperature <= 0:
            raise ConfigError(f"objective.temperature: {temperature} is not above 0")
        if not 0 <= alpha <= 1:
            raise ConfigError(f"objective.alpha: {alpha} is not between 0 and 1")
        for level in match:
            check_choice("objective.match", level, LEVELS)
        self.task = task(tasks=tasks, kinds=kinds)
        self.tasks = dict(tasks)
        self.temperature, self.alpha = temperature, alpha
        self.teacher = freeze_copy(model) if teacher is None else Teacher(open_run(teacher))
        probed = self.task.modalities if isinstance(self.task, Probe) else []
        self.match = Match(self.teacher.model, match, dims, fusion_dim, probed) if match else None
        self.match_weight = match_weight

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts.

        Args:
            model: the student.
            batch: inputs and targets.

        Returns:
            loss, loss/hard, loss/soft, and loss/match where something is matched.
        """
        features = self.task.encode(model, batch.inputs)
        outputs = self.task.predict(model, features, batch.present)
        teacher_outputs = self.teacher(batch)
        parts = {
            "loss/hard": self.task.compute_losses(outputs, batch)["loss"],
            "loss/soft": self._soft_loss(outputs, teacher_outputs, batch),
        }
        loss = (1 - self.alpha) * parts["loss/hard"] + self.alpha * parts["loss/soft"]
        if self.match is not None:
            parts["loss/match"] = self.match(features, outputs.fused, teacher_outputs, batch)
            loss = loss + self.match_weight * parts["loss/match"]
        return {"loss": loss, **parts}

    def _soft_loss(self, outputs: ModelOutputs, teacher_outputs: TeacherOutputs, batch: Batch) -> Tensor:
        """Return the distance to the teacher's predictions, summed over heads and tasks."""
        losses = []
        for head, by_task in outputs.heads.items():
            modality = ALL if head.modality is None else head.modality
            rows = select_present(batch.present, modality)
            for name, task in self.tasks.items():
                distance = distillation_loss(task, by_task[name], teacher_outputs.outputs[name], self.temperature)
                losses.append(batch.weigh(masked_mean(distance, rows), modality=modality))
        return sum_losses(losses)


def distillation_loss(task: AnyTask, output: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Return the distance of each row's output from the teacher's (Hinton et al., 2015).

    Classes: the KL divergence of the softened probabilities; labels: the cross-entropy of each; both times the squared
    temperature, so that gradients keep their scale. Numbers: the squared error.

    Args:
        task: decides which of them it is.
        output: of the student [B, C].
        target: output of the teacher [B, C].
        temperature: by which both are divided before the softmax or sigmoid.

    Returns:
        [B].
    """
    output, target = output.float(), target.float()
    if isinstance(task, Regression):
        return (output - target).square().mean(1)
    output, target = output / temperature, target / temperature
    if isinstance(task, Multilabel):
        losses = F.binary_cross_entropy_with_logits(output, target.sigmoid(), reduction="none")
        return temperature**2 * losses.mean(1)
    losses = F.kl_div(output.log_softmax(1), target.log_softmax(1), reduction="none", log_target=True)
    return temperature**2 * losses.sum(1)


class Match(nn.Module):
    """Mean squared distance of a student's features from a teacher's (FitNets: Romero et al., 2015).

    It owns the linear maps from the student's width to the teacher's, where they differ.

    Args:
        teacher: whose features are the targets.
        levels: of LEVELS.
        dims: width of the features of each of the student's encoders.
        fusion_dim: width of the student's fused vector.
        probed: modalities of the encoders that learn alone; the pooled vector of each is then matched to the teacher's
            fused one. Empty: the student has a fused vector.
    """

    def __init__(
        self,
        teacher: Multimodal,
        levels: Sequence[str],
        dims: Mapping[str, int],
        fusion_dim: int,
        probed: Sequence[str],
    ) -> None:
        super().__init__()
        encoders = cast(Mapping[str, Encoder], teacher.encoder)
        shared = [modality for modality in probed or dims if modality in encoders]
        self.pairs: list[tuple[str, str]] = []  # level, modality of the student; ALL: its fused vector
        for level in levels:
            self.pairs += [(level, modality) for modality in ((probed or [ALL]) if level == "fused" else shared)]
        student_dims = {ALL: fusion_dim, **dims}
        self.project = nn.ModuleList()
        for level, modality in self.pairs:
            dim = student_dims[modality]
            teacher_dim = teacher.fusion.dim if level == "fused" else encoders[modality].dim
            self.project.append(nn.Identity() if dim == teacher_dim else nn.Linear(dim, teacher_dim))

    def forward(
        self,
        features: dict[str, Features],
        fused: Tensor | None,
        teacher_outputs: TeacherOutputs,
        batch: Batch,
    ) -> Tensor:
        """Return the mean over everything that is matched.

        Args:
            features: of the student, by modality.
            fused: of the student [B, D], where it has one.
            teacher_outputs: its features and fused vector.
            batch: what is present.

        Raises:
            ConfigError: nothing can be matched, or student and teacher have different numbers of tokens.
        """
        vectors = {name: part.pooled for name, part in features.items()}
        if fused is not None:
            vectors[ALL] = fused
        losses = []
        for (level, modality), project in zip(self.pairs, self.project, strict=True):
            if level == "tokens":
                student, teacher = features[modality], teacher_outputs.features[modality]
                if student.tokens is None or teacher.tokens is None:
                    continue
                distance = _token_distance(modality, project, student, teacher)
            else:
                target = teacher_outputs.fused if level == "fused" else teacher_outputs.features[modality].pooled
                distance = (project(vectors[modality]).float() - target.float()).square().mean(1)
            mean = masked_mean(distance, select_present(batch.present, modality))
            losses.append(batch.weigh(mean, modality=modality))
        if not losses:
            raise ConfigError(
                "objective.match: no encoder has tokens in both the student and the teacher; match pooled instead"
            )
        return torch.stack(losses).mean()


def select_present(present: dict[str, Tensor], modality: str) -> Tensor:
    """Return which rows have a modality, [B] bool.

    Args:
        present: by modality, [B] bool.
        modality: by name; ALL: rows with any modality.
    """
    return torch.stack(list(present.values())).any(0) if modality == ALL else present[modality]


def _token_distance(modality: str, project: nn.Module, student: Features, teacher: Features) -> Tensor:  # [B]
    """Return the mean squared distance token by token, over the tokens that are real in both."""
    assert student.tokens is not None
    assert teacher.tokens is not None
    if student.tokens.shape[1] != teacher.tokens.shape[1]:
        raise ConfigError(
            f"objective.match: encoder.{modality} has {student.tokens.shape[1]} tokens and the teacher's has "
            f"{teacher.tokens.shape[1]}; drop tokens from match"
        )
    distance: Tensor = (project(student.tokens).float() - teacher.tokens.float()).square().mean(2)
    real = torch.ones_like(distance, dtype=torch.bool)  # [B, T]
    for mask in (student.mask, teacher.mask):
        real = real if mask is None else real & mask
    return distance.where(real, 0).sum(1) / real.sum(1).clamp(min=1)
