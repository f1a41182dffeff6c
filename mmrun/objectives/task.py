"""Learn the tasks themselves: through all modalities together, or through each encoder alone."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.tasks.classification import Classification
from mmrun.types import HIDDEN_CLASS, Batch, Objective
from mmrun.types import Task as AnyTask


class Task(Objective):
    """The tasks from all modalities together: the weighted sum of their losses."""

    def __init__(
        self,
        tasks: Mapping[str, AnyTask],
        weights: Mapping[str, float] | None = None,
        label_smoothing: float = 0.0,
        balanced: bool = False,
    ) -> None:
        super().__init__()
        for name in weights or {}:
            if name not in tasks:
                raise ConfigError(f"objective.weights.{name}: no such task (there are {', '.join(tasks)})")
        self.weights = {**dict.fromkeys(tasks, 1.0), **(weights or {})}
        self.losses = _losses(tasks, label_smoothing, balanced)

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Give the loss and its parts, "loss/<task>"."""
        outputs = model(batch)
        parts = {name: loss(outputs[name], batch.targets[name]) for name, loss in self.losses.items()}
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
        return {"loss": total, **{f"loss/{name}": part for name, part in parts.items()}}


class Probe(Objective):
    """The tasks from each modality alone, through its encoder and `probe.<modality>`: unimodal training."""

    def __init__(
        self,
        tasks: Mapping[str, AnyTask],
        kinds: Iterable[str],
        label_smoothing: float = 0.0,
        balanced: bool = False,
    ) -> None:
        super().__init__()
        self.modalities = list(kinds)
        self.losses = _losses(tasks, label_smoothing, balanced)

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Give the loss and its parts, "loss/<modality>". Rows that lack a modality do not count for it."""
        parts = {}
        for modality in self.modalities:
            outputs = model.unimodal(batch, modality)
            present = batch.present[modality]
            losses = [loss(outputs[name], hide(batch.targets[name], present)) for name, loss in self.losses.items()]
            parts[modality] = torch.stack(losses).sum()
        total = torch.stack(list(parts.values())).sum()
        return {"loss": total, **{f"loss/{modality}": part for modality, part in parts.items()}}


def _losses(
    tasks: Mapping[str, AnyTask], label_smoothing: float, balanced: bool
) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Give each task's loss, the classifications' with what only they can do."""
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {name: task.loss for name, task in tasks.items()}
    classifications = {name: task for name, task in tasks.items() if isinstance(task, Classification)}
    if not classifications and (label_smoothing > 0 or balanced):
        key = "balanced" if balanced else "label_smoothing"
        raise ConfigError(f"objective.{key}: no task is a classification (there are {', '.join(tasks)}); leave it out")
    for name, task in classifications.items():
        losses[name] = partial(task.loss, label_smoothing=label_smoothing, balanced=balanced)
    return losses


def hide(target: Tensor, present: Tensor) -> Tensor:  # [B, ...], [B]
    """Hide the targets of rows that are not present."""
    hidden = float("nan") if target.is_floating_point() else HIDDEN_CLASS
    return target.masked_fill(~present.view(-1, *[1] * (target.dim() - 1)), hidden)
