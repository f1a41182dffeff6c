"""The slow modality pulled to its classes' prototypes."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.unimodal import lead, over_processes, pooled, with_features
from mmrun.tasks.classification import Classification
from mmrun.types import IGNORE_INDEX, Batch, Objective, Task


class Prototypes(nn.Module):
    """The mean vector of each class in one modality: c = momentum * c + (1 - momentum) * that of a batch."""

    vectors: Tensor
    seen: Tensor

    def __init__(self, num_classes: int, dim: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("vectors", torch.zeros(num_classes, dim))
        self.register_buffer("seen", torch.zeros(num_classes, dtype=torch.bool))

    @torch.no_grad()
    def follow(self, x: Tensor, target: Tensor, counted: Tensor) -> None:  # [B, D], [B], [B] bool
        """Move the prototypes of the classes of a batch; a class seen for the first time gets its mean."""
        member = nn.functional.one_hot(target.clamp(min=0), len(self.vectors)) * counted.unsqueeze(1)  # [B, C]
        with torch.autocast(x.device.type, enabled=False):
            sums = over_processes(member.T.float() @ torch.cat([x, torch.ones_like(x[:, :1])], 1))  # [C, D + 1]
        number = sums[:, -1:]
        new = sums[:, :-1] / number.clamp(min=1e-6)
        moved = torch.where(self.seen.unsqueeze(1), self.momentum * self.vectors + (1 - self.momentum) * new, new)
        self.vectors.copy_(torch.where(number > 0, moved, self.vectors))
        self.seen |= number.squeeze(1) > 0

    def forward(self, x: Tensor, target: Tensor, counted: Tensor) -> Tensor:  # [B, D], [B], [B] bool -> [B, C]
        """Follow a batch, and give log-probabilities of the classes seen so far by their negative distances."""
        self.follow(x.detach(), target, counted)
        near = -torch.cdist(x, self.vectors)
        return near.masked_fill(~self.seen, -1e9).log_softmax(1)


class Pmr(Objective):
    """Prototypical modal rebalance (Fan et al., 2023).

    A modality's score is the mean probability that its prototypes give to the truth, its lead the score over the mean
    of the others'. To the loss come: for those behind, alpha * clip(1 / lead - 1, 0, 1) times the cross-entropy of
    their prototypes; and early, for those ahead, -mu * clip(lead - 1, 0, 1) times the entropy of theirs.
    """

    step: Tensor

    def __init__(
        self,
        objective: Objective,
        tasks: Mapping[str, Task],
        kinds: Iterable[str],
        dims: Mapping[str, int],
        alpha: float = 1.0,
        momentum: float = 0.5,
        mu: float = 0.01,
        entropy_steps: int = 100,
    ) -> None:
        super().__init__()
        self.tasks = {name: task for name, task in tasks.items() if isinstance(task, Classification)}
        if not self.tasks:
            raise ConfigError(
                f"balance: pmr needs classes, and no task is a classification (there are {', '.join(tasks)}); "
                "choose agm, gradient_blending, pcgrad, mmpareto or umt"
            )
        if not 0 <= momentum < 1:
            raise ConfigError(f"balance.momentum: {momentum} is not a share below 1")
        self.objective = objective
        self.modalities = list(kinds)
        self.alpha, self.mu, self.entropy_steps = alpha, mu, entropy_steps
        self.prototypes = nn.ModuleDict()  # by task, then modality
        for name, task in self.tasks.items():
            own = {m: Prototypes(task.num_outputs, dims[m], momentum) for m in self.modalities}
            self.prototypes[name] = nn.ModuleDict(own)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, and the terms that help lagging modalities."""
        if not self.training:
            return self.objective(model, batch)
        losses, features = with_features(self.objective, model, batch, self.modalities)
        vectors = pooled(features)
        total, parts = losses["loss"], {}
        for name, prototypes in self.prototypes.items():
            help_, calm = self._rebalance(prototypes, vectors, batch.targets[name], batch.present)
            early = (self.step < self.entropy_steps).float()
            total = total + self.alpha * help_ - self.mu * early * calm
            parts[f"loss/prototypes/{name}"] = help_
        self.step += 1
        return {**losses, "loss": total, **parts}

    def _rebalance(
        self, prototypes: nn.Module, vectors: Mapping[str, Tensor], target: Tensor, present: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted sums of cross-entropies and of entropies, for one task."""
        losses, entropies, scores = [], [], []
        for m, own in prototypes.named_children():
            counted = (target != IGNORE_INDEX) & present[m]
            logs = own(vectors[m], target, counted)  # [B, C]
            truth = logs.gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1).where(counted, 0.0)
            number = counted.sum().clamp(min=1)
            losses.append(-truth.sum() / number)
            entropies.append(-((logs.exp() * logs).sum(1) * counted).sum() / number)
            scores.append(torch.stack([(truth.detach().exp() * counted).sum(), counted.sum().float()]))
        total, number = over_processes(torch.stack(scores)).unbind(1)
        ahead = lead(total / number.clamp(min=1e-6), number > 0)
        slow, fast = (1 / ahead.clamp(min=1e-6) - 1).clamp(0, 1), (ahead - 1).clamp(0, 1)
        return (slow * torch.stack(losses)).sum(), (fast * torch.stack(entropies)).sum()
