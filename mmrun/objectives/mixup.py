"""Learn from rows that lie between two."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.distributions import Dirichlet

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.task import Supervised
from mmrun.types import Batch, Features, Objective
from mmrun.types import Task as AnyTask


class MixUp(Objective):
    """Mixup (Zhang et al., 2018) of what the encoders say: share * row + (1 - share) * other row, targets alike.

    Share, drawn from Beta(alpha, alpha), and partners are the same for all modalities of a batch. A modality that one
    of the two lacks is the other's alone. Validation sees the rows as they are.
    """

    def __init__(
        self,
        task: Callable[..., Supervised],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        alpha: float = 0.2,
    ) -> None:
        super().__init__()
        if alpha <= 0:
            raise ConfigError(f"objective.alpha: {alpha} is not above 0")
        self.task = task(tasks=tasks, kinds=kinds)
        self.alpha = alpha

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective for both targets, weighted by their shares."""
        if not self.training:
            losses: dict[str, Tensor] = self.task(model, batch)
            return losses
        device = batch.index.device
        share = Dirichlet(torch.full((2,), self.alpha, device=device), validate_args=False).sample()[0]
        partner = torch.rand(len(batch.index), device=device).argsort()
        features = {
            modality: mix(own, batch.present[modality], partner, share)
            for modality, own in self.task.encode(model, batch.inputs).items()
        }
        present = {modality: here | here[partner] for modality, here in batch.present.items()}
        outputs = self.task.predict(model, features, present)
        first = self.task.compute_losses(outputs, present, batch.targets)
        targets = {name: target[partner] for name, target in batch.targets.items()}
        second = self.task.compute_losses(outputs, present, targets)
        return {name: torch.lerp(second[name], loss, share) for name, loss in first.items()}


def mix(own: Features, here: Tensor, partner: Tensor, share: Tensor) -> Features:  # [B] bool, [B] int64, scalar
    """Mix the features of one modality, [B, ...], with those of the partners."""
    there = here[partner]
    pooled = _between(own.pooled, here, partner, there, share)
    if own.tokens is None:
        return Features(pooled)
    real = torch.ones(own.tokens.shape[:2], dtype=torch.bool, device=here.device) if own.mask is None else own.mask
    first, second = real & here[:, None], real[partner] & there[:, None]  # [B, T]
    return Features(pooled, _between(own.tokens, first, partner, second, share), first | second)


def _between(x: Tensor, first: Tensor, partner: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Return share * x + (1 - share) * x[partner] where both are real, else the one that is."""
    other = x[partner]
    mixed = torch.lerp(other, x, share.to(x.dtype))
    return mixed.where((first & second)[..., None], x.where(first[..., None], other))
