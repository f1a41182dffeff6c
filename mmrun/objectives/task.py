"""Supervised objectives: the tasks from all modalities together, or from each encoder alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from mmrun.data.visible import is_visible
from mmrun.errors import ConfigError, nearest
from mmrun.head import FUSED, Head
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import (
    build_losses,
    check_choice,
    compute_unimodal_loss,
    has_true_classes,
    hide_targets,
    masked_mean,
    score_truth,
    sum_losses,
)
from mmrun.tasks.regression import Regression
from mmrun.types import Batch, Features, Input, Objective, UnimodalDecision
from mmrun.types import Task as AnyTask
from mmrun.values import NonNegativeFloat, PositiveFloat, ShareBelow1

PENALTIES = {
    "l2": lambda fused: fused.square().mean(),
    "l1": lambda fused: fused.abs().mean(),
    "variance": lambda fused: fused.var(0, correction=0).mean(),
}


class ModelOutputs(NamedTuple):
    """What a model computes for a batch.

    Attributes:
        heads: outputs by head and task, [B, C].
        fused: [B, D]; None where the fusion was not run.
        decisions: of each modality alone, where the fusion makes them.
        auxiliary: losses of the fusion beside those of the tasks, by modality; see `Fusion.auxiliary_losses`.
    """

    heads: dict[Head, dict[str, Tensor]]
    fused: Tensor | None = None
    decisions: Mapping[str, UnimodalDecision] = MappingProxyType({})
    auxiliary: Mapping[str, Tensor] = MappingProxyType({})


class Supervised(Objective):
    """Base class of objectives that learn from targets, in three phases, between which a wrapper can change things.

    Attributes:
        encode: (model, inputs) -> features by modality.
        predict: (model, features, present) -> outputs.
        compute_losses: (outputs, batch) -> losses; of the batch only present, targets and weights count.
    """

    encode: Callable[[Multimodal, Mapping[str, Input]], dict[str, Features]]
    predict: Callable[[Multimodal, dict[str, Features], dict[str, Tensor]], ModelOutputs]
    compute_losses: Callable[[ModelOutputs, Batch], dict[str, Tensor]]
    needs_targets = True

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts.

        Args:
            model: to be trained.
            batch: inputs and targets.
        """
        outputs = self.predict(model, self.encode(model, batch.inputs), batch.present)
        return self.compute_losses(outputs, batch)


class Task(Supervised):
    """The tasks from all modalities together: the weighted sum of their losses.

    Args:
        tasks: the tasks by name.
        kinds: the modalities that the stage reads.
        weights: of a task's loss, by name; 1 where it is not given.
        weighting: "fixed", or "uncertainty": by a noise learned for each task (Kendall et al., 2018), on top of
            `weights`.
        loss: the form of the loss by kind of task; see `build_losses`, also for the next four.
        gamma: of the focal loss.
        delta: of the Huber loss.
        label_smoothing: share of a class target spread over all classes.
        class_balanced: weigh classes inversely to their number of training rows.
        unimodal_weight: weight of the loss of each encoder's probe, which is added to the fused one (Wang et al.,
            2020): a number, or one by modality.
        penalty: regularises the fused vector: "l2", "l1", "variance" or None.
        penalty_weight: of the penalty.

    Raises:
        ConfigError: an argument is out of range, or names no task or modality.
    """

    returns_task_losses = True

    def __init__(
        self,
        tasks: Mapping[str, AnyTask],
        kinds: Iterable[str] = (),
        weights: Mapping[str, NonNegativeFloat] | None = None,
        weighting: Literal["fixed", "uncertainty"] = "fixed",
        loss: Mapping[str, str] | None = None,
        gamma: NonNegativeFloat = 2.0,
        delta: PositiveFloat = 1.0,
        label_smoothing: ShareBelow1 = 0.0,
        class_balanced: bool = False,
        unimodal_weight: NonNegativeFloat | Mapping[str, NonNegativeFloat] = 0.0,
        penalty: Literal["l2", "l1", "variance"] | None = None,
        penalty_weight: NonNegativeFloat = 0.01,
    ) -> None:
        super().__init__()
        _check_names("objective.weights", "task", weights or {}, tasks)
        check_choice("objective.weighting", weighting, ("fixed", "uncertainty"))
        if penalty is not None:
            check_choice("objective.penalty", penalty, tuple(PENALTIES))
        self.tasks = dict(tasks)
        self.weights = {**dict.fromkeys(tasks, 1.0), **(weights or {})}
        self.losses = build_losses(tasks, loss, gamma, delta, label_smoothing, class_balanced)
        self.unimodal_weight = _resolve_unimodal_weights(unimodal_weight, list(kinds))
        self.penalty, self.penalty_weight = penalty, penalty_weight
        self.uncertainty = Uncertainty(tasks) if weighting == "uncertainty" else None

    def encode(self, model: Multimodal, inputs: Mapping[str, Input]) -> dict[str, Features]:
        """Return the features of every modality."""
        return model.encode(inputs)

    def predict(self, model: Multimodal, features: dict[str, Features], present: dict[str, Tensor]) -> ModelOutputs:
        """Return the outputs of the fused heads, and of the probes whose loss has a weight.

        Args:
            model: to be trained.
            features: by modality.
            present: by modality, [B] bool.
        """
        fused = model.fusion(features, present)
        heads = {FUSED: model.forward_head(fused)}
        for modality in self.unimodal_weight:
            heads[Head(modality)] = model.forward_probe(modality, features[modality].pooled)
        decisions = model.fusion.decide_alone(features, present)
        return ModelOutputs(heads, fused, decisions, model.fusion.auxiliary_losses(features, present))

    def compute_losses(self, outputs: ModelOutputs, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts.

        Args:
            outputs: that `predict` returned.
            batch: targets, and what is present.

        Returns:
            loss, loss/<task>, loss/probe.<modality>, loss/decision.<modality>, loss/auxiliary.<modality>, loss/penalty.
        """
        fused = outputs.fused
        by_task = outputs.heads[FUSED]
        parts = {}
        for name, loss in self.losses.items():
            parts[name] = batch.weigh(loss(by_task[name], batch.targets[name]), task=name)
        weighted = [part if self.weights[name] == 1 else self.weights[name] * part for name, part in parts.items()]
        if self.uncertainty is not None:
            weighted = self.uncertainty(dict(zip(parts, weighted, strict=True)), batch)
        for modality, weight in self.unimodal_weight.items():
            unimodal_loss = compute_unimodal_loss(self.losses, outputs.heads[Head(modality)], batch, modality)
            parts[f"probe.{modality}"] = unimodal_loss
            weighted.append(weight * unimodal_loss)
        for modality, decision in outputs.decisions.items():
            parts[f"decision.{modality}"] = self._teach_decision(decision, batch, modality)
            weighted.append(parts[f"decision.{modality}"])
        for modality, mean in outputs.auxiliary.items():
            parts[f"auxiliary.{modality}"] = batch.weigh(mean, modality=modality)
            weighted.append(parts[f"auxiliary.{modality}"])
        if self.penalty is not None and fused is not None:
            parts["penalty"] = PENALTIES[self.penalty](fused.float())
            weighted.append(self.penalty_weight * parts["penalty"])
        return {"loss": sum_losses(weighted), **{f"loss/{name}": part for name, part in parts.items()}}

    def _teach_decision(self, decision: UnimodalDecision, batch: Batch, modality: str) -> Tensor:
        """Return the task loss of a decision, and the mean absolute error of its confidence."""
        terms = [compute_unimodal_loss(self.losses, dict.fromkeys(self.losses, decision.logits), batch, modality)]
        for name, task in self.tasks.items():
            if not has_true_classes(task):
                raise ConfigError(
                    f"fusion: it learns how probable the true class is, and '{name}' is a regression; "
                    "choose another fusion"
                )
            target = hide_targets(batch.targets[name], batch.present[modality])
            truth, visible = score_truth(task, decision.logits.detach(), target)
            terms.append(batch.weigh(masked_mean((decision.confidence - truth).abs(), visible), name, modality))
        return sum_losses(terms)


class Uncertainty(nn.Module):
    """Weighs the losses of several tasks by their homoscedastic uncertainty (Kendall et al., 2018).

    With s the logarithm of a task's variance, it contributes exp(-s) loss + s / 2; a regression half of the first term.
    A task without a visible target in the whole batch contributes nothing, so that its s stays where it is.

    Args:
        tasks: the tasks by name; each gets an s, which starts at 0.
    """

    def __init__(self, tasks: Mapping[str, AnyTask]) -> None:
        super().__init__()
        self.log_variance = nn.ParameterDict({name: nn.Parameter(torch.zeros(1)) for name in tasks})
        self.factor = {name: 0.5 if isinstance(task, Regression) else 1.0 for name, task in tasks.items()}

    def forward(self, losses: dict[str, Tensor], batch: Batch) -> list[Tensor]:
        """Return the weighted losses.

        Args:
            losses: scalars by task, 0 where no target is visible.
            batch: targets.
        """
        weighted = []
        for name, loss in losses.items():
            log_variance = self.log_variance[name].squeeze(0)
            has_target = batch.weigh(is_visible(batch.targets[name]).any().float(), task=name)
            weighted.append(self.factor[name] * (-log_variance).exp() * loss + has_target * log_variance / 2)
        return weighted


class Probe(Supervised):
    """Unimodal training: the tasks from each modality alone, through its encoder and `probe.<modality>`.

    Args:
        tasks: the tasks by name.
        kinds: the modalities that the stage reads.
        modalities: those to train; None: all that the stage reads.
        loss: the form of the loss by kind of task; see `build_losses`, also for the other arguments.
        gamma: of the focal loss.
        delta: of the Huber loss.
        label_smoothing: share of a class target spread over all classes.
        class_balanced: weigh classes inversely to their number of training rows.

    Raises:
        ConfigError: an argument is out of range, or names no modality.
    """

    def __init__(
        self,
        tasks: Mapping[str, AnyTask],
        kinds: Iterable[str],
        modalities: Sequence[str] | None = None,
        loss: Mapping[str, str] | None = None,
        gamma: NonNegativeFloat = 2.0,
        delta: PositiveFloat = 1.0,
        label_smoothing: ShareBelow1 = 0.0,
        class_balanced: bool = False,
    ) -> None:
        super().__init__()
        self.modalities = choose_modalities(modalities, kinds)
        self.losses = build_losses(tasks, loss, gamma, delta, label_smoothing, class_balanced)

    def encode(self, model: Multimodal, inputs: Mapping[str, Input]) -> dict[str, Features]:
        """Return the features of the modalities to train."""
        return model.encode({modality: inputs[modality] for modality in self.modalities})

    def predict(self, model: Multimodal, features: dict[str, Features], present: dict[str, Tensor]) -> ModelOutputs:
        """Return the outputs of each modality's probe.

        Args:
            model: to be trained.
            features: by modality.
            present: is not used.
        """
        heads = {}
        for modality in self.modalities:
            heads[Head(modality)] = model.forward_probe(modality, features[modality].pooled)
        return ModelOutputs(heads)

    def compute_losses(self, outputs: ModelOutputs, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts. Rows that lack a modality do not count for it.

        Args:
            outputs: that `predict` returned.
            batch: targets, and what is present.

        Returns:
            loss, loss/<modality>.
        """
        parts = {}
        for modality in self.modalities:
            parts[modality] = compute_unimodal_loss(self.losses, outputs.heads[Head(modality)], batch, modality)
        total = sum_losses(parts.values())
        return {"loss": total, **{f"loss/{modality}": part for modality, part in parts.items()}}


def _resolve_unimodal_weights(
    unimodal_weight: NonNegativeFloat | Mapping[str, NonNegativeFloat], kinds: list[str]
) -> dict[str, float]:
    """Return the weight of each probe, where it is above 0."""
    if not isinstance(unimodal_weight, Mapping):
        return dict.fromkeys(kinds, unimodal_weight) if unimodal_weight > 0 else {}
    _check_names("objective.unimodal_weight", "modality", unimodal_weight, kinds)
    return {modality: weight for modality, weight in unimodal_weight.items() if weight > 0}


def choose_modalities(modalities: Sequence[str] | None, kinds: Iterable[str]) -> list[str]:
    """Return the modalities that `objective.modalities` selects.

    Args:
        modalities: by name; None: all that the stage reads.
        kinds: the modalities that the stage reads.

    Raises:
        ConfigError: the stage does not read one of them, or none is named.
    """
    stage_modalities = list(kinds)
    if modalities is None:
        return stage_modalities
    _check_names("objective.modalities", "modality", modalities, stage_modalities)
    if not modalities:
        raise ConfigError(
            f"objective.modalities: names none of {', '.join(stage_modalities)}; leave it out to choose all"
        )
    return list(modalities)


def _check_names(key_path: str, noun: str, names: Iterable[str], choices: Iterable[str]) -> None:
    """Reject the name of a task or modality that does not exist."""
    for name in names:
        if name not in choices:
            raise ConfigError(
                f"{key_path}.{name}: no such {noun}{nearest(name, choices)} (there are {', '.join(choices)})"
            )
