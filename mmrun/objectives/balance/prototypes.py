"""PMR: pull slow modalities towards the prototypes of their classes."""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.step_mean import StepMean
from mmrun.objectives.balance.unimodal import (
    average_over_processes,
    compute_discrepancy_ratio,
    compute_losses_and_features,
    get_pooled,
)
from mmrun.tasks.classification import Classification
from mmrun.types import IGNORE_INDEX, Batch, Objective, Task
from mmrun.values import NonNegativeFloat, NonNegativeInt, ShareBelow1


class Prototypes(nn.Module):
    """The mean vector of each class in one modality: c = momentum * c + (1 - momentum) * mean of the step.

    Args:
        num_classes: C.
        dim: D, width of the vectors.
        momentum: per step, 0..1.
    """

    vectors: Tensor
    seen: Tensor

    def __init__(self, num_classes: int, dim: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("vectors", torch.zeros(num_classes, dim))
        self.register_buffer("seen", torch.zeros(num_classes, dtype=torch.bool))
        self.step_mean = StepMean((num_classes, dim), (num_classes, 1))

    @torch.no_grad()
    def collect(self, x: Tensor, target: Tensor, counted: Tensor) -> None:
        """Collect the vectors that `update` moves the prototypes to.

        Args:
            x: pooled vectors [B, D].
            target: classes [B].
            counted: [B] bool, rows that count.
        """
        membership = nn.functional.one_hot(target.clamp(min=0), len(self.vectors)) * counted.unsqueeze(1)  # [B, C]
        x_and_ones = torch.cat([x, torch.ones_like(x[:, :1])], 1)  # [B, D + 1]; sums and counts in one product
        with torch.autocast(x.device.type, enabled=False):
            sums = average_over_processes(membership.T.float() @ x_and_ones)  # [C, D + 1]
        self.step_mean.add(sums[:, :-1], sums[:, -1:])

    def update(self) -> None:
        """Move the prototypes of a step's classes; a class seen for the first time gets its mean."""
        means, is_counted = self.step_mean.pop()
        moved = torch.where(self.seen.unsqueeze(1), self.momentum * self.vectors + (1 - self.momentum) * means, means)
        self.vectors.copy_(torch.where(is_counted, moved, self.vectors))
        self.seen |= is_counted.squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities by negative distance, over the classes that have a prototype, [B, C].

        Args:
            x: pooled vectors [B, D].
        """
        logits = -torch.cdist(x, self.vectors)
        return logits.masked_fill(~self.seen, -1e9).log_softmax(1)


class Pmr(Objective):
    """Prototypical modal rebalance (PMR: Fan et al., 2023).

    A modality's score is the mean probability of the true class by its prototypes, its ratio the score over the mean of
    the others'. Two terms are added to the loss: for slow modalities, alpha * clip(1 / ratio - 1, 0, 1) times the
    cross-entropy of their prototypes; and in early steps, for fast ones, -mu * clip(ratio - 1, 0, 1) times the entropy
    of theirs.

    The authors compute prototypes from a tenth of the training rows after each epoch; here each step updates them
    after its rows were scored. A prototype that contains the row itself would be close to it even if features are pure
    noise. Rows whose class has no prototype yet do not count.

    Args:
        objective: to wrap.
        tasks: the tasks by name, of which classifications have prototypes.
        kinds: the modalities that the stage reads.
        dims: width of the features of each encoder.
        alpha: weight of the cross-entropy.
        momentum: of the prototypes per step, 0 up to below 1.
        mu: weight of the entropy.
        entropy_steps: steps in which the entropy counts.

    Raises:
        ConfigError: no task is a classification, or `momentum` is out of range.
    """

    step: Tensor

    def __init__(
        self,
        objective: Objective,
        tasks: Mapping[str, Task],
        kinds: Iterable[str],
        dims: Mapping[str, int],
        alpha: NonNegativeFloat = 1.0,
        momentum: ShareBelow1 = 0.5,
        mu: NonNegativeFloat = 0.01,
        entropy_steps: NonNegativeInt = 100,
    ) -> None:
        super().__init__()
        self.tasks = {name: task for name, task in tasks.items() if isinstance(task, Classification)}
        if not self.tasks:
            raise ConfigError(
                f"balance: pmr needs classes, and no task is a classification (there are {', '.join(tasks)}); "
                "choose agm, gradient_blending, lfm, pcgrad, mmpareto or umt"
            )
        if not 0 <= momentum < 1:
            raise ConfigError(f"balance.momentum: {momentum} is not between 0 and 1 (1 excluded)")
        self.objective = objective
        self.modalities = list(kinds)
        self.alpha, self.mu, self.entropy_steps = alpha, mu, entropy_steps
        self.prototypes = nn.ModuleDict()  # by task, then modality
        for name, task in self.tasks.items():
            by_modality = {m: Prototypes(task.num_outputs, dims[m], momentum) for m in self.modalities}
            self.prototypes[name] = nn.ModuleDict(by_modality)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, with the two terms added.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            The losses of the wrapped objective, with the sum as loss, and loss/prototypes/<task>.
        """
        if not self.training:
            validation_losses: dict[str, Tensor] = self.objective(model, batch)
            return validation_losses
        losses, features = compute_losses_and_features(self.objective, model, batch, self.modalities)
        vectors = get_pooled(features)
        total, parts = losses["loss"], {}
        for name in self.tasks:
            cross_entropy, entropy = self._rebalance(name, vectors, batch)
            early = (self.step < self.entropy_steps).float()
            total = total + self.alpha * cross_entropy - self.mu * early * entropy
            parts[f"loss/prototypes/{name}"] = cross_entropy
        return {**losses, "loss": total, **parts}

    def on_step_end(self, model: nn.Module) -> None:
        """Move the prototypes, after all rows of the step were scored."""
        self.step += 1
        for by_modality in self.prototypes.children():
            for prototypes in cast(Iterable[Prototypes], by_modality.children()):
                prototypes.update()

    def _rebalance(self, task: str, vectors: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the weighted sums of cross-entropies and of entropies, for one task."""
        target = batch.targets[task]
        losses, entropies, scores = [], [], []
        for modality, modality_prototypes in cast(Mapping[str, Prototypes], self.prototypes[task]).items():
            visible, label = (target != IGNORE_INDEX) & batch.present[modality], target.clamp(min=0)
            counted = visible & modality_prototypes.seen[label]
            log_probs = modality_prototypes(vectors[modality])  # [B, C]
            modality_prototypes.collect(vectors[modality].detach(), label, visible)
            truth = log_probs.gather(1, label.unsqueeze(1)).squeeze(1).where(counted, 0.0)
            number = counted.sum().clamp(min=1)
            entropy = -((log_probs.exp() * log_probs).sum(1) * counted).sum() / number
            losses.append(batch.weigh(-truth.sum() / number, task, modality))
            entropies.append(batch.weigh(entropy, task, modality))
            scores.append(torch.stack([(truth.detach().exp() * counted).sum(), counted.sum().float()]))
        total, number = average_over_processes(torch.stack(scores)).unbind(1)
        ratio = compute_discrepancy_ratio(total / number.clamp(min=1e-6), number > 0)
        slow, fast = (1 / ratio.clamp(min=1e-6) - 1).clamp(0, 1), (ratio - 1).clamp(0, 1)
        return (slow * torch.stack(losses)).sum(), (fast * torch.stack(entropies)).sum()
