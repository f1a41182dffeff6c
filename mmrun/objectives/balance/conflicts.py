"""Gradients of several losses that pull a part of the model in different ways, made one."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.unimodal import Probes, learning, over_processes, pooled, with_features
from mmrun.objectives.losses import summed
from mmrun.types import Batch, Objective, Task

TINY = torch.finfo(torch.float32).tiny


class Pcgrad(Objective):
    """Projecting conflicting gradients (Yu et al., 2020).

    The losses are those of the tasks, each with the weight that the wrapped objective gives it, and one of each
    modality alone, through a probe of its own. In each encoder, and in the fusion, every gradient loses what it has
    against each of the others, in random order; then they are added. Heads and probes learn as ever.
    """

    def __init__(
        self,
        objective: Objective,
        tasks: Mapping[str, Task],
        kinds: Iterable[str],
        dims: Mapping[str, int],
        unimodal_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if unimodal_weight < 0:
            raise ConfigError(f"balance.unimodal_weight: {unimodal_weight} is below 0")
        if unimodal_weight == 0 and len(tasks) == 1:
            raise ConfigError(
                "balance.unimodal_weight: one task without losses of each modality has no conflicts; set it above 0"
            )
        self.objective, self.unimodal_weight = objective, unimodal_weight
        self.modalities, self.tasks = list(kinds), list(tasks)
        self.probes = Probes(tasks, self.modalities, dims) if unimodal_weight > 0 else None

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, and those of each modality alone."""
        if not self.training:
            return self.objective(model, batch)
        return _with_alone(self.objective, self.probes, self.unimodal_weight, model, batch)

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients, without their conflicts."""
        assert isinstance(model, Multimodal)
        alone = [self.unimodal_weight * loss for name, loss in losses.items() if name.startswith("loss/alone/")]
        parts = [losses[f"loss/{task}"] for task in self.tasks if f"loss/{task}" in losses]
        weights = torch.autograd.grad(losses["loss"], parts, retain_graph=True, allow_unused=True) if parts else ()
        weighted = [w * part for w, part in zip(weights, parts, strict=True) if w is not None]
        separate = [*weighted[1:], *([summed(alone)] if alone else [])]
        rest = losses["loss"] - summed(separate)  # the first task, and whatever is no task's
        _add_gradients(model, self, [rest, *separate], scale, without_conflicts)


def without_conflicts(gradients: Tensor) -> Tensor:  # [K, P] -> [P]
    """Take from each gradient what it has against each of the others, as these were; add up what is left."""
    total = torch.zeros_like(gradients[0])
    for own, gradient in enumerate(gradients):
        order = torch.randperm(len(gradients), device=gradients.device)
        for number, other in zip(order, gradients[order], strict=True):
            against = (gradient @ other).clamp(max=0).where(number != own, 0.0)
            gradient = gradient - against / other.square().sum().clamp(min=TINY) * other
        total = total + gradient
    return total


class MMPareto(Objective):
    """MMPareto (Wei & Hu, 2024): a step of each encoder that helps the joint loss and the modality's own.

    Where both gradients of an encoder agree they are added; else the shortest of their convex combinations is taken,
    times 2, which hurts neither loss, and made as long as their sum. Then it grows by `gamma`, for the noise that
    helps to generalise. Everything but the encoders gets the sum of the gradients.
    """

    def __init__(
        self,
        objective: Objective,
        tasks: Mapping[str, Task],
        kinds: Iterable[str],
        dims: Mapping[str, int],
        gamma: float = 1.5,
    ) -> None:
        super().__init__()
        if gamma <= 0:
            raise ConfigError(f"balance.gamma: {gamma} is not above 0")
        self.objective, self.gamma = objective, gamma
        self.probes = Probes(tasks, kinds, dims)

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, and those of each modality alone."""
        if not self.training:
            return self.objective(model, batch)
        return _with_alone(self.objective, self.probes, 1.0, model, batch)

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients, those of each encoder made one."""
        assert isinstance(model, Multimodal)
        alone = summed(loss for name, loss in losses.items() if name.startswith("loss/alone/"))
        _add_gradients(model, self, [losses["loss"] - alone, alone], scale, self.direction, fusion=False)

    def direction(self, gradients: Tensor) -> Tensor:  # [2, P] -> [P]
        """Make one of the gradients of the joint loss and of the modality's own."""
        joint, alone = gradients
        weight = torch.where(joint @ alone < 0, shortest(joint, alone), 0.5)
        found = 2 * weight * joint + 2 * (1 - weight) * alone
        length = found.norm()
        longer = torch.where(length > 0, (joint + alone).norm() / length, 1.0).clamp(min=1)
        return found * longer * self.gamma


def shortest(first: Tensor, second: Tensor) -> Tensor:  # [P], [P] -> scalar
    """Return the weight of the first vector in the shortest convex combination of two (Désidéri, 2012)."""
    apart = (first - second).square().sum().clamp(min=TINY)
    return ((second - first) @ second / apart).clamp(0, 1)


def _with_alone(
    objective: Objective, probes: Probes | None, weight: float, model: Multimodal, batch: Batch
) -> dict[str, Tensor]:
    """Return the losses of an objective, and those of each modality alone, which teach its encoder too."""
    if probes is None:
        return objective(model, batch)
    losses, features = with_features(objective, model, batch, list(probes.linear))
    alone = probes.losses(probes(pooled(features)), batch)
    total = losses["loss"] + weight * summed(alone.values())
    return {**losses, "loss": total, **{f"loss/alone/{m}": loss for m, loss in alone.items()}}


def _add_gradients(
    model: Multimodal,
    objective: nn.Module,
    losses: Sequence[Tensor],
    scale: Callable[[Tensor], Tensor],
    combine: Callable[[Tensor], Tensor],
    fusion: bool = True,
) -> None:
    """Add the gradients of several losses: in each encoder, and the fusion, as `combine` says, elsewhere their sum.

    `combine` gets one row a loss, [K, P], the same in all processes. What it gives reaches .grad through the hooks of
    the parameters, so that DDP knows of it.
    """
    every = [p for p in dict.fromkeys([*model.parameters(), *objective.parameters()]) if p.requires_grad]
    last = len(losses) - 1
    found = [
        torch.autograd.grad(scale(loss), every, retain_graph=number < last, allow_unused=True)
        for number, loss in enumerate(losses)
    ]
    gradients = {
        p: [torch.zeros_like(p) if g is None else g for g in own]
        for p, *own in zip(every, *found, strict=True)
        if any(g is not None for g in own)
    }
    result = {p: torch.stack(own).sum(0) for p, own in gradients.items()}
    parts = [learning(model, m) for m in model.encoder]
    if fusion:
        parts.append([p for p in model.fusion.parameters() if p.requires_grad])
    for part in parts:
        shared = [p for p in part if p in gradients]
        if shared:
            rows = [torch.cat([gradients[p][k].flatten() for p in shared]) for k in range(len(losses))]
            flat = combine(over_processes(torch.stack(rows)))
            pieces = flat.split([p.numel() for p in shared])
            result |= {p: piece.view_as(p) for p, piece in zip(shared, pieces, strict=True)}
    torch.autograd.backward(list(result), list(result.values()))
