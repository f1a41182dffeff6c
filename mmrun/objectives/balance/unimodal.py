"""What the methods share: the losses of each modality alone, its score against the others, changes of gradients."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmrun.data.visible import is_visible
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import compute_unimodal_loss, hide_targets, sum_losses
from mmrun.types import Batch, Features, Objective, Task


class Probes(nn.Module):
    """A linear head for each modality and task, on the encoder's pooled vector; owned by a balance.

    Args:
        tasks: the tasks by name.
        kinds: the modalities.
        dims: width of the features of each encoder.
    """

    def __init__(self, tasks: Mapping[str, Task], kinds: Iterable[str], dims: Mapping[str, int]) -> None:
        super().__init__()
        self.tasks = dict(tasks)
        self.linear = nn.ModuleDict()
        for modality in kinds:
            linears = {name: nn.Linear(dims[modality], task.num_outputs) for name, task in tasks.items()}
            self.linear[modality] = nn.ModuleDict(linears)

    def forward(self, pooled: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Return the outputs of each modality alone, by modality and task, [B, C].

        Args:
            pooled: by modality, [B, D].
        """
        outputs = {}
        for modality, heads in self.linear.items():
            outputs[modality] = {task: head(pooled[modality]) for task, head in heads.named_children()}
        return outputs

    def losses(self, outputs: Mapping[str, Mapping[str, Tensor]], batch: Batch) -> dict[str, Tensor]:
        """Return the loss of each modality alone, over the rows where it is present.

        Args:
            outputs: by modality and task.
            batch: targets, and what is present.
        """
        losses, by_task = {}, {name: task.loss for name, task in self.tasks.items()}
        for modality in self.linear:
            losses[modality] = compute_unimodal_loss(by_task, outputs[modality], batch, modality)
        return losses


def compute_task_loss(tasks: Mapping[str, Task], outputs: Mapping[str, Tensor], batch: Batch, rows: Tensor) -> Tensor:
    """Return the sum of the task losses over some rows, each a mean that is not weighed.

    Args:
        tasks: the tasks by name.
        outputs: by task, [B, C].
        batch: targets.
        rows: [B] bool, those that count.
    """
    return sum_losses(task.loss(outputs[name], hide_targets(batch.targets[name], rows)) for name, task in tasks.items())


def has_visible_target(tasks: Mapping[str, Task], batch: Batch, rows: Tensor) -> Tensor:
    """Return whether any of some rows has a visible target, a bool scalar on the device.

    Args:
        tasks: the tasks by name.
        batch: targets.
        rows: [B] bool.
    """
    visible = []
    for name in tasks:
        target = hide_targets(batch.targets[name], rows)
        visible.append(is_visible(target).any())
    return torch.stack(visible).any()


@contextmanager
def record_features(model: Multimodal, modalities: Iterable[str], num_rows: int) -> Iterator[dict[str, Features]]:
    """Record what encoders return while the context is open; of several passes over the batch, the last is kept.

    Earlier passes may have searched for adversarial inputs, and their graphs are freed.

    Args:
        model: whose encoders are hooked.
        modalities: to record.
        num_rows: of the batch; passes with another number of rows, or without gradients, are ignored.
    """
    recorded: dict[str, Features] = {}

    def record(modality: str, encoder: nn.Module, args: tuple[object, ...], features: Features) -> None:
        if torch.is_grad_enabled() and len(features.pooled) == num_rows:
            recorded[modality] = features

    hooks = [model.encoder[m].register_forward_hook(partial(record, m)) for m in modalities]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()


def compute_losses_and_features(
    objective: Objective, model: Multimodal, batch: Batch, modalities: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, Features]]:
    """Return the losses of an objective, and the features by modality of the pass in which it computed them.

    Args:
        objective: to run.
        model: to be trained.
        batch: inputs and targets.
        modalities: whose features are returned; those stored on disk do not pass an encoder and are read from the
            batch.
    """
    with record_features(model, modalities, len(batch.index)) as recorded:
        losses = objective(model, batch)
    stored = model.encode({m: batch.inputs[m] for m in modalities if m not in recorded})
    return losses, {m: recorded[m] if m in recorded else stored[m] for m in modalities}


def get_pooled(features: Mapping[str, Features]) -> dict[str, Tensor]:
    """Return the pooled vectors by modality in fp32, [B, D]."""
    return {modality: part.pooled.float() for modality, part in features.items()}


def get_trainable_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a module that require gradients."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def separate_gradients(
    model: Multimodal, objective: nn.Module, losses: Sequence[Tensor], scale: Callable[[Tensor], Tensor]
) -> dict[nn.Parameter, list[Tensor]]:
    """Return the gradient of each loss, for the parameters that any of them depends on; zeros where one does not.

    Args:
        model: to be trained.
        objective: whose parameters are trained too.
        losses: scalars.
        scale: scales a loss for gradient accumulation and fp16.

    Returns:
        By parameter, a gradient per loss.
    """
    unique = dict.fromkeys([*model.parameters(), *objective.parameters()])
    trainable = [parameter for parameter in unique if parameter.requires_grad]
    by_loss = []
    for index, loss in enumerate(losses):
        retain_graph = index < len(losses) - 1
        by_loss.append(torch.autograd.grad(scale(loss), trainable, retain_graph=retain_graph, allow_unused=True))
    gradients = {}
    for parameter, *rows in zip(trainable, *by_loss, strict=True):
        if any(row is not None for row in rows):
            gradients[parameter] = [torch.zeros_like(parameter) if row is None else row for row in rows]
    return gradients


@contextmanager
def modify_gradients(model: Multimodal, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Change the gradients of encoders while the context is open, before they are accumulated or averaged.

    Args:
        model: to be trained.
        changes: by modality, a function from the gradient of a parameter to a new one.
    """
    hooks = []
    for modality, change in changes.items():
        for parameter in get_trainable_parameters(model.encoder[modality]):
            register: Callable[[Callable[[Tensor], Tensor]], RemovableHandle] = parameter.register_hook
            hooks.append(register(change))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def eval_mode(*parts: nn.Module) -> Iterator[None]:
    """Put modules into eval mode while the context is open, then restore the mode of each submodule.

    Args:
        parts: modules whose dropout and updates of running statistics are switched off.
    """
    modes = []
    for part in parts:
        modes += [(module, module.training) for module in part.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def average_others(values: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each modality the mean over the others.

    Args:
        values: [M].
        counted: [M] bool, modalities that have a value.

    Returns:
        The means [M], and where they are defined [M] bool: the modality and at least one other have a value.
    """
    values = values.where(counted, 0.0)
    num_others = counted.sum() - counted.int()
    return (values.sum() - values) / num_others.clamp(min=1), counted & (num_others > 0)


def compute_discrepancy_ratio(scores: Tensor, counted: Tensor) -> Tensor:
    """Return the ratio of each modality's score to the mean of the others' (Peng et al., 2022), [M].

    Args:
        scores: [M].
        counted: [M] bool, modalities that have a score; the ratio is 1 where there is nothing to compare.
    """
    others, defined = average_others(scores, counted)
    return torch.where(defined, scores / others.clamp(min=1e-6), 1.0)


def average_over_processes(values: Tensor) -> Tensor:
    """Return the mean over all processes, or the values themselves if there is one process.

    Args:
        values: of the same shape in all processes; they are not changed.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        values = values.clone()
        torch.distributed.all_reduce(values)
        values /= torch.distributed.get_world_size()
    return values
