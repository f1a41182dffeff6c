"""What the methods share: what each modality gives alone, how it stands among the others, where gradients go."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import summed
from mmrun.types import IGNORE_INDEX, Batch, Features, Objective, Task


class Probes(nn.Module):
    """A linear head of its own for each modality and task, on the encoder's pooled vector."""

    def __init__(self, tasks: Mapping[str, Task], kinds: Iterable[str], dims: Mapping[str, int]) -> None:
        super().__init__()
        self.tasks = dict(tasks)
        self.linear = nn.ModuleDict()
        for modality in kinds:
            linears = {name: nn.Linear(dims[modality], task.num_outputs) for name, task in tasks.items()}
            self.linear[modality] = nn.ModuleDict(linears)

    def forward(self, pooled: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Predict every task from each modality alone: by modality and task, [B, C]."""
        return {m: {task: linear(pooled[m]) for task, linear in own.named_children()} for m, own in self.linear.items()}

    def losses(self, outputs: Mapping[str, Mapping[str, Tensor]], batch: Batch) -> dict[str, Tensor]:
        """Return each modality's loss, of the rows that have it."""
        return {m: task_loss(self.tasks, outputs[m], batch, batch.present[m]) for m in self.linear}


def task_loss(tasks: Mapping[str, Task], outputs: Mapping[str, Tensor], batch: Batch, rows: Tensor) -> Tensor:
    """Sum the losses of the tasks over some rows, [B] bool."""
    losses = [task.loss(outputs[name], hide(batch.targets[name], rows)) for name, task in tasks.items()]
    return summed(losses)


def known(tasks: Mapping[str, Task], batch: Batch, rows: Tensor) -> Tensor:  # [B] bool -> scalar bool
    """Return whether some rows have a target that may be seen."""
    targets = [hide(batch.targets[name], rows) for name in tasks]
    return torch.stack([(~t.isnan() if t.is_floating_point() else t != IGNORE_INDEX).any() for t in targets]).any()


def hide(target: Tensor, rows: Tensor) -> Tensor:  # [B, ...], [B] bool
    """Hide the targets of all but some rows."""
    hidden = float("nan") if target.is_floating_point() else IGNORE_INDEX
    return target.masked_fill(~rows.view(-1, *[1] * (target.dim() - 1)), hidden)


@contextmanager
def heard(model: Multimodal, modalities: Iterable[str], num_rows: int) -> Iterator[dict[str, Features]]:
    """Record features by modality while the context is open: of several passes of so many rows, the last one.

    Earlier passes may have searched for adversarial inputs, and their graphs are gone.
    """
    given: dict[str, Features] = {}

    def note(modality: str, encoder: nn.Module, args: Any, features: Features) -> None:
        if torch.is_grad_enabled() and len(features.pooled) == num_rows:
            given[modality] = features

    hooks = [model.encoder[m].register_forward_hook(partial(note, m)) for m in modalities]
    try:
        yield given
    finally:
        for hook in hooks:
            hook.remove()


def with_features(
    objective: Objective, model: Multimodal, batch: Batch, modalities: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, Features]]:
    """Return the losses of an objective, and the features of the batch, by modality, as its own pass made them."""
    with heard(model, modalities, len(batch.index)) as given:
        losses = objective(model, batch)
    silent = model.encode({m: batch.inputs[m] for m in modalities if m not in given})  # those computed before, on disk
    return losses, {m: given[m] if m in given else silent[m] for m in modalities}


def pooled(features: Mapping[str, Features]) -> dict[str, Tensor]:  # by modality, [B, D]
    """Return the pooled vectors, in fp32."""
    return {modality: own.pooled.float() for modality, own in features.items()}


def learning(model: Multimodal, modality: str) -> list[nn.Parameter]:
    """Return the parameters of an encoder that learn."""
    return [parameter for parameter in model.encoder[modality].parameters() if parameter.requires_grad]


@contextmanager
def modulated(model: Multimodal, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Change the gradients of encoders on their way to the parameters, before they are added up or averaged."""
    hooks = [p.register_hook(change) for modality, change in changes.items() for p in learning(model, modality)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def mean_of_others(values: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:  # [M], [M] bool -> [M], [M] bool
    """Return for each modality the mean over the others that count, and whether it has one and counts itself."""
    values = values.where(counted, 0.0)
    number = counted.sum() - counted.int()
    return (values.sum() - values) / number.clamp(min=1), counted & (number > 0)


def lead(scores: Tensor, counted: Tensor) -> Tensor:  # [M], [M] bool -> [M]
    """Return the ratio of each modality's score to that of the others; 1 where it has none."""
    others, defined = mean_of_others(scores, counted)
    return torch.where(defined, scores / others.clamp(min=1e-6), 1.0)


def over_processes(values: Tensor) -> Tensor:
    """Return the mean over all processes, where there are several."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        values = values.clone()
        torch.distributed.all_reduce(values)
        values /= torch.distributed.get_world_size()
    return values
