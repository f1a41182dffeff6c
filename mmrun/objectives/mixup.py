"""Mixup: learn from rows that lie between two others."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.distributions import Gamma

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.task import Supervised
from mmrun.types import Batch, Features, Objective
from mmrun.types import Task as AnyTask
from mmrun.values import PositiveFloat


class MixUp(Objective):
    """Mixup (Zhang et al., 2018) of features: lambda * row + (1 - lambda) * partner, and the same of their losses.

    Lambda and partners are the same for all modalities of a batch. Where only one of the two rows has a modality, its
    features are used unmixed. Validation uses unmixed rows. Partners are rows of the same micro-batch.

    Args:
        task: builds the supervised objective.
        tasks: the tasks by name.
        kinds: kind of each modality.
        alpha: lambda is drawn from Beta(alpha, alpha); if it is small, most rows stay nearly unmixed.

    Raises:
        ConfigError: `alpha` is not above 0.
    """

    def __init__(
        self,
        task: Callable[..., Supervised],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        alpha: PositiveFloat = 0.2,
    ) -> None:
        super().__init__()
        if alpha <= 0:
            raise ConfigError(f"objective.alpha: {alpha} is not above 0")
        self.task = task(tasks=tasks, kinds=kinds)
        self.needs_targets = self.task.needs_targets
        self.alpha = alpha

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective on mixed features: the weighted mean of those to both targets.

        Args:
            model: to be trained.
            batch: inputs and targets.
        """
        if not self.training:
            losses: dict[str, Tensor] = self.task(model, batch)
            return losses
        device = batch.index.device
        lam = draw_beta(self.alpha, device)
        partner = torch.rand(len(batch.index), device=device).argsort()
        features, present = {}, {}
        for modality, unmixed in self.task.encode(model, batch.inputs).items():
            features[modality] = mix(unmixed, batch.present[modality], partner, lam)
        for modality, rows in batch.present.items():
            present[modality] = rows | rows[partner]
        outputs = self.task.predict(model, features, present)
        mixed = batch._replace(present=present)
        first = self.task.compute_losses(outputs, mixed)
        targets = {name: target[partner] for name, target in batch.targets.items()}
        second = self.task.compute_losses(outputs, mixed._replace(targets=targets))
        return {name: torch.lerp(second[name], loss, lam) for name, loss in first.items()}


def draw_beta(alpha: float, device: torch.device) -> Tensor:
    """Draw a number from Beta(alpha, alpha).

    It is the share of one of two gamma variables, which for a small alpha underflow: their logarithms are drawn, where
    Gamma(alpha) is Gamma(alpha + 1) * U^(1 / alpha).

    Args:
        alpha: above 0.
        device: of the result, a scalar.
    """
    larger = Gamma(torch.full((2,), alpha + 1, device=device), torch.ones(2, device=device), validate_args=False)
    uniform = torch.rand(2, device=device).clamp(min=torch.finfo(torch.float32).tiny)
    return (larger.sample().log() + uniform.log() / alpha).softmax(0)[0]


def mix(features: Features, present: Tensor, partner: Tensor, lam: Tensor) -> Features:
    """Return the features of one modality, mixed with those of the partners.

    Args:
        features: of B rows.
        present: [B] bool, which rows have the modality.
        partner: [B] int64, the row that each row is mixed with.
        lam: scalar, lambda, the weight of the row itself.
    """
    partner_present = present[partner]
    pooled = _mix_valid(features.pooled, present, partner, partner_present, lam)
    if features.tokens is None:
        return Features(pooled)
    real = features.mask
    if real is None:
        real = torch.ones(features.tokens.shape[:2], dtype=torch.bool, device=present.device)
    first, second = real & present[:, None], real[partner] & partner_present[:, None]  # [B, T]
    return Features(pooled, _mix_valid(features.tokens, first, partner, second, lam), first | second)


def _mix_valid(x: Tensor, first: Tensor, partner: Tensor, second: Tensor, lam: Tensor) -> Tensor:
    """Return lam * x + (1 - lam) * x[partner] where both are valid, else the valid one."""
    partner_x = x[partner]
    mixed = torch.lerp(partner_x, x, lam.to(x.dtype))
    return mixed.where((first & second)[..., None], x.where(first[..., None], partner_x))
