"""Mixup: learn from rows that lie between two others."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Gamma

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import sum_losses
from mmrun.objectives.synthetic_rows import SyntheticRows
from mmrun.objectives.task import ModelOutputs, Supervised, choose_modalities
from mmrun.types import Batch, Features, Objective
from mmrun.types import Task as AnyTask
from mmrun.values import PositiveFloat


class Mixture(NamedTuple):
    """The targets of the rows that a batch was mixed with.

    Attributes:
        targets: by task.
        own_share: of a row itself in the mixture, a scalar.
    """

    targets: dict[str, Tensor]
    own_share: Tensor


class MixUp(Objective):
    """Mixup (Zhang et al., 2018) of features: lambda * row + (1 - lambda) * partner, and the same of their losses.

    Where only one of the two rows has a modality, its features are used unmixed. Modalities that are not mixed stay the
    row's own. Validation uses unmixed rows. Partners are rows of the same micro-batch.

    Args:
        task: builds the supervised objective.
        tasks: the tasks by name.
        kinds: kind of each modality.
        alpha: lambda is drawn from Beta(alpha, alpha); if it is small, most rows stay nearly unmixed.
        modalities: those to mix; None: all that the stage reads.
        joint: lambda and partners are the same for all modalities of a batch; otherwise each modality has its own, and
            the loss is the mean over them.

    Raises:
        ConfigError: `alpha` is not above 0, or the stage does not read one of `modalities`.
    """

    def __init__(
        self,
        task: Callable[..., Supervised],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        alpha: PositiveFloat = 0.2,
        modalities: Sequence[str] | None = None,
        joint: bool = True,
    ) -> None:
        super().__init__()
        if alpha <= 0:
            raise ConfigError(f"objective.alpha: {alpha} is not above 0")
        self.task = task(tasks=tasks, kinds=kinds)
        self.needs_targets = self.task.needs_targets
        self.alpha = alpha
        self.groups = group_modalities(choose_modalities(modalities, kinds), joint)
        self.synthetic = SyntheticRows()

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
        features, present = self.task.encode(model, batch.inputs), dict(batch.present)
        mixtures, is_mixed = [], torch.zeros_like(batch.index, dtype=torch.bool)
        for group in self.groups:
            lam = draw_beta(self.alpha, device)
            partner = torch.rand(len(batch.index), device=device).argsort()
            for modality in group:
                rows = batch.present[modality]
                present[modality] = rows | rows[partner]
                if modality in features:
                    features[modality] = mix(features[modality], rows, partner, lam)
            targets = {name: target[partner] for name, target in batch.targets.items()}
            mixtures.append(Mixture(targets, lam))
            is_mixed |= batch.index[partner] != batch.index
        self.synthetic.add(is_mixed)
        outputs = self.task.predict(model, features, present)
        return mix_losses(self.task, outputs, batch._replace(present=present), mixtures)

    def on_step_end(self, model: nn.Module) -> None:
        """Count the mixed rows."""
        self.synthetic.end_step()


def group_modalities(modalities: Sequence[str], joint: bool) -> list[list[str]]:
    """Return the modalities that are mixed with one partner, in lists.

    Args:
        modalities: by name.
        joint: all have the same partner; otherwise each has its own.
    """
    return [list(modalities)] if joint else [[modality] for modality in modalities]


def mix_losses(task: Supervised, outputs: ModelOutputs, batch: Batch, mixtures: Sequence[Mixture]) -> dict[str, Tensor]:
    """Return the losses to both targets, weighted by their shares; the mean over the mixtures.

    Args:
        task: computes the losses.
        outputs: on mixed rows.
        batch: with the rows' own targets.
        mixtures: at least one.
    """
    own_losses = task.compute_losses(outputs, batch)
    mixed: dict[str, list[Tensor]] = {name: [] for name in own_losses}
    for mixture in mixtures:
        partners = task.compute_losses(outputs, batch._replace(targets=mixture.targets))
        for name, loss in own_losses.items():
            mixed[name].append(torch.lerp(partners[name], loss, mixture.own_share))
    return {name: sum_losses(losses) / len(mixtures) for name, losses in mixed.items()}


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
