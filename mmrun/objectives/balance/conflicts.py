"""PCGrad and MMPareto: combine gradients of several losses that conflict in a part of the model."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.unimodal import (
    Probes,
    average_over_processes,
    compute_losses_and_features,
    get_pooled,
    get_trainable_parameters,
    separate_gradients,
)
from mmrun.objectives.losses import sum_losses
from mmrun.types import Batch, Objective, Task
from mmrun.values import NonNegativeFloat, PositiveFloat

TINY = torch.finfo(torch.float32).tiny


class Pcgrad(Objective):
    """Projecting conflicting gradients (PCGrad: Yu et al., 2020).

    The losses are those of the tasks, with the weights of the wrapped objective, and one of each modality alone,
    through probes that this objective owns. In each encoder, and in the fusion, every gradient is projected onto the
    normal plane of each other that it conflicts with, in random order; then they are added. Heads and probes get the
    plain sum.

    The paper projects the gradients of tasks in all shared parameters at once; here each part is projected by itself,
    and a modality alone counts as a task.

    Args:
        objective: to wrap.
        tasks: the tasks by name.
        kinds: the modalities that the stage reads.
        dims: width of the features of each encoder.
        unimodal_weight: weight of the losses of each modality alone; 0: the tasks only, of which there must be several.

    Raises:
        ConfigError: the weight is below 0, there is a single loss, or the wrapped objective returns
            none for each task.
    """

    def __init__(
        self,
        objective: Objective,
        tasks: Mapping[str, Task],
        kinds: Iterable[str],
        dims: Mapping[str, int],
        unimodal_weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        if unimodal_weight < 0:
            raise ConfigError(f"balance.unimodal_weight: {unimodal_weight} is below 0")
        if unimodal_weight == 0 and len(tasks) == 1:
            raise ConfigError(
                "balance.unimodal_weight: a single task without unimodal losses has no conflicts; set it above 0"
            )
        if len(tasks) > 1 and not objective.returns_task_losses:
            raise ConfigError(
                f"balance: pcgrad needs a separate loss for each task ({', '.join(tasks)}), which "
                f"{type(objective).__name__} does not return; choose another balance, or objective task, multi_loss, "
                "modality_dropout, modality_shuffle, pseudo_label, fixmatch or mean_teacher"
            )
        self.objective, self.unimodal_weight = objective, unimodal_weight
        self.modalities, self.tasks = list(kinds), list(tasks)
        self.probes = Probes(tasks, self.modalities, dims) if unimodal_weight > 0 else None

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, and those of each modality alone.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            The losses of the wrapped objective, with their sum as loss, and loss/alone/<modality>.
        """
        if not self.training:
            validation_losses: dict[str, Tensor] = self.objective(model, batch)
            return validation_losses
        return _add_unimodal_losses(self.objective, self.probes, self.unimodal_weight, model, batch)

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients, without their conflicts; see `Objective.backward`."""
        assert isinstance(model, Multimodal)
        alone = [self.unimodal_weight * loss for name, loss in losses.items() if name.startswith("loss/alone/")]
        others = [losses[f"loss/{task}"] for task in self.tasks[1:]]
        separate = [sum_losses(alone)] if alone else []
        if others:
            weights = torch.autograd.grad(losses["loss"], others, retain_graph=True)
            separate += [weight * loss for weight, loss in zip(weights, others, strict=True)]
        remaining = losses["loss"] - sum_losses(separate)  # the first task, and what belongs to no task
        _add_gradients(model, self, [remaining, *separate], scale, project_conflicts)


def project_conflicts(gradients: Tensor) -> Tensor:
    """Return the sum of the gradients, each projected against the others that it conflicts with (Yu et al., 2020).

    Args:
        gradients: [K, P]; each is projected against the others as they are here, in random order.

    Returns:
        [P].
    """
    total = torch.zeros_like(gradients[0])
    for index, gradient in enumerate(gradients):
        order = torch.randperm(len(gradients), device=gradients.device)
        for second_index, second in zip(order, gradients[order], strict=True):
            conflict = (gradient @ second).clamp(max=0).where(second_index != index, 0.0)
            gradient = gradient - conflict / second.square().sum().clamp(min=TINY) * second
        total = total + gradient
    return total


class MMPareto(Objective):
    """MMPareto (Wei & Hu, 2024): each encoder's step improves both the joint loss and its modality's own.

    Where the two gradients of an encoder agree they are added; otherwise their shortest convex combination is taken,
    times 2, which worsens neither loss, and lengthened to the length of their sum. Either is multiplied by `gamma`: the
    noise of longer steps helps to generalise. Everything but the encoders gets the sum of the gradients.

    Args:
        objective: to wrap; its loss is the joint one.
        tasks: the tasks by name.
        kinds: the modalities that the stage reads.
        dims: width of the features of each encoder.
        gamma: factor on the combined gradient of an encoder.

    Raises:
        ConfigError: `gamma` is not above 0.
    """

    def __init__(
        self,
        objective: Objective,
        tasks: Mapping[str, Task],
        kinds: Iterable[str],
        dims: Mapping[str, int],
        gamma: PositiveFloat = 1.5,
    ) -> None:
        super().__init__()
        if gamma <= 0:
            raise ConfigError(f"balance.gamma: {gamma} is not above 0")
        self.objective, self.gamma = objective, gamma
        self.probes = Probes(tasks, kinds, dims)

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, and those of each modality alone.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            The losses of the wrapped objective, with their sum as loss, and loss/alone/<modality>.
        """
        if not self.training:
            validation_losses: dict[str, Tensor] = self.objective(model, batch)
            return validation_losses
        return _add_unimodal_losses(self.objective, self.probes, 1.0, model, batch)

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients, those of each encoder combined; see `Objective.backward`."""
        assert isinstance(model, Multimodal)
        alone = sum_losses(loss for name, loss in losses.items() if name.startswith("loss/alone/"))
        joint = losses["loss"] - alone
        _add_gradients(model, self, [joint, alone], scale, self.combine_gradients, combine_fusion=False)

    def combine_gradients(self, gradients: Tensor) -> Tensor:
        """Return the direction of an encoder, [P].

        Args:
            gradients: of the joint loss and of the modality's own [2, P].
        """
        joint, alone = gradients
        weight = torch.where(joint @ alone < 0, min_norm_weight(joint, alone), 0.5)
        combined = 2 * weight * joint + 2 * (1 - weight) * alone
        length: Tensor = combined.norm()
        stretch = torch.where(length > 0, (joint + alone).norm() / length, 1.0).clamp(min=1)
        direction: Tensor = combined * stretch * self.gamma
        return direction


def min_norm_weight(first: Tensor, second: Tensor) -> Tensor:
    """Return the weight of the first vector in the shortest convex combination of two (MGDA: Désidéri, 2012).

    Args:
        first: [P].
        second: [P].

    Returns:
        Scalar, 0..1.
    """
    squared_distance = (first - second).square().sum().clamp(min=TINY)
    weight: Tensor = (second - first) @ second / squared_distance
    return weight.clamp(0, 1)


def _add_unimodal_losses(
    objective: Objective, probes: Probes | None, weight: float, model: Multimodal, batch: Batch
) -> dict[str, Tensor]:
    """Return the losses of an objective, and those of each modality alone, whose gradients reach its encoder."""
    if probes is None:
        wrapped_losses: dict[str, Tensor] = objective(model, batch)
        return wrapped_losses
    losses, features = compute_losses_and_features(objective, model, batch, list(probes.linear))
    alone = probes.losses(probes(get_pooled(features)), batch)
    total = losses["loss"] + weight * sum_losses(alone.values())
    return {**losses, "loss": total, **{f"loss/alone/{m}": loss for m, loss in alone.items()}}


def _add_gradients(
    model: Multimodal,
    objective: nn.Module,
    losses: Sequence[Tensor],
    scale: Callable[[Tensor], Tensor],
    combine: Callable[[Tensor], Tensor],
    combine_fusion: bool = True,
) -> None:
    """Add the gradients of several losses: combined in each encoder and the fusion, elsewhere their sum.

    `combine` maps [K, P], a row per loss and the same in all processes, to [P]. The result reaches .grad through the
    hooks of the parameters, so that DDP sees it.
    """
    gradients = separate_gradients(model, objective, losses, scale)
    result = {parameter: torch.stack(rows).sum(0) for parameter, rows in gradients.items()}
    parts: list[nn.Module] = list(model.encoder.values())
    if combine_fusion:
        parts.append(model.fusion)
    for part in parts:
        shared = [parameter for parameter in get_trainable_parameters(part) if parameter in gradients]
        if shared:
            result |= _combine_part(shared, gradients, len(losses), combine)
    torch.autograd.backward(list(result), list(result.values()))


def _combine_part(
    shared: Sequence[nn.Parameter],
    gradients: Mapping[nn.Parameter, Sequence[Tensor]],
    num_losses: int,
    combine: Callable[[Tensor], Tensor],
) -> dict[nn.Parameter, Tensor]:
    """Return the combined gradients of one part of the model."""
    rows = []
    for index in range(num_losses):
        rows.append(torch.cat([gradients[parameter][index].flatten() for parameter in shared]))
    flat = combine(average_over_processes(torch.stack(rows)))
    pieces = torch.split(flat, [parameter.numel() for parameter in shared])
    return {parameter: piece.view_as(parameter) for parameter, piece in zip(shared, pieces, strict=True)}
