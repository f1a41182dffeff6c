"""FixMatch: unlabelled rows learn, under strong augmentation, what the model is sure of under weak augmentation."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.data.visible import is_visible
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.augment import Augmentations
from mmrun.objectives.distill import select_present
from mmrun.objectives.losses import masked_mean, sum_losses
from mmrun.objectives.pseudo_label import require_probabilities
from mmrun.objectives.task import ModelOutputs, Supervised
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.types import ALL, Batch, Objective
from mmrun.types import Task as AnyTask
from mmrun.values import NonNegativeFloat, Share

UNLABELLED = "unlabelled "  # before a task: the mask of its rows


class FixMatch(Objective):
    """FixMatch (Sohn et al., 2020): the loss of labelled rows + weight * the loss of pseudo-labels of the others.

    The model itself predicts pseudo-labels from a weakly augmented view. Where they are confident, it learns them from
    a strongly augmented view; where not, a row has the loss 0, so that few pseudo-labels count little. Labelled rows
    are augmented weakly. Numbers have no probability, and so no pseudo-labels. Validation uses the inputs and targets
    as they are.

    Args:
        task: builds the supervised objective.
        tasks: the tasks by name.
        kinds: kind of each modality.
        metadata: by modality, the arguments that its preprocessor offers to augmentations.
        weak: builds the augmentation of labelled rows, and of those that get pseudo-labels.
        strong: builds the augmentation under which pseudo-labels are learned.
        threshold: probability from which on a prediction is a pseudo-label, 0..1.
        weight: of the loss of pseudo-labels.

    Raises:
        ConfigError: no task predicts probabilities.
    """

    def __init__(
        self,
        task: Callable[..., Supervised],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        metadata: Mapping[str, Mapping[str, Any]],
        weak: Callable[..., Augmentations],
        strong: Callable[..., Augmentations],
        threshold: Share = 0.95,
        weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        require_probabilities(tasks)
        self.task = task(tasks=tasks, kinds=kinds)
        self.returns_task_losses = self.task.returns_task_losses
        self.tasks, self.threshold, self.weight = dict(tasks), threshold, weight
        self.weak, self.strong = (build(kinds=kinds, metadata=metadata) for build in (weak, strong))

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        """Return which rows have a hidden target; see `Objective.masks`."""
        unlabelled = {}
        for name in self.tasks:
            hidden = ~is_visible(batch.targets[name])
            unlabelled[UNLABELLED + name] = hidden.view(len(hidden), -1).any(1)
        return unlabelled

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of `task`, and in training loss/pseudo_label.

        Args:
            model: to be trained.
            batch: inputs and targets.
        """
        if not self.training:
            losses: dict[str, Tensor] = self.task(model, batch)
            return losses
        weak, strong = (self._predict(model, augment(batch)) for augment in (self.weak, self.strong))
        losses = self.task.compute_losses(weak, batch)
        pseudo_label = self._pseudo_label_loss(weak, strong, batch)
        return {**losses, "loss": losses["loss"] + self.weight * pseudo_label, "loss/pseudo_label": pseudo_label}

    def _predict(self, model: Multimodal, batch: Batch) -> ModelOutputs:
        return self.task.predict(model, self.task.encode(model, batch.inputs), batch.present)

    def _pseudo_label_loss(self, weak: ModelOutputs, strong: ModelOutputs, batch: Batch) -> Tensor:
        """Return the mean over the unlabelled rows, summed over heads and tasks; each has its own pseudo-labels."""
        losses, unlabelled = [], self.masks(batch)
        for head, by_task in weak.heads.items():
            modality = ALL if head.modality is None else head.modality
            present = select_present(batch.present, modality)
            for name, task in self.tasks.items():
                if isinstance(task, Classification | Multilabel):
                    scores = task.scores(by_task[name].detach())
                    hidden = ~is_visible(batch.targets[name])
                    rows = pseudo_label_losses(scores, strong.heads[head][name], hidden, self.threshold)
                    mean = masked_mean(rows, present & unlabelled[UNLABELLED + name])
                    losses.append(batch.weigh(mean, UNLABELLED + name, modality))
        return sum_losses(losses)


def pseudo_label_losses(scores: Tensor, output: Tensor, hidden: Tensor, threshold: float) -> Tensor:
    """Return the loss of each row to its confident pseudo-labels, [B]; 0 without any.

    Classes have the cross-entropy to the likeliest class; labels the mean binary cross-entropy over the hidden ones.

    Args:
        scores: probabilities under weak augmentation [B, C].
        output: logits under strong augmentation [B, C].
        hidden: which targets are hidden, [B] for classes, [B, C] for labels.
        threshold: smallest probability of a pseudo-label.
    """
    output = output.float()
    if hidden.dim() == 1:
        confidence, predicted = scores.max(1)
        return F.cross_entropy(output, predicted, reduction="none") * (hidden & (confidence >= threshold))
    predicted = scores >= 0.5
    confident = hidden & (torch.where(predicted, scores, 1 - scores) >= threshold)
    losses = F.binary_cross_entropy_with_logits(output, predicted.float(), reduction="none")
    return (losses * confident).sum(1) / hidden.sum(1).clamp(min=1)
