"""UMT: keep each encoder near what it learned alone."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.unimodal import compute_losses_and_features, get_pooled
from mmrun.objectives.losses import masked_mean, sum_losses
from mmrun.types import Batch, Objective
from mmrun.values import NonNegativeFloat


class Umt(Objective):
    """The uni-modal teacher (UMT: Du et al., 2023): joint training must not lose what each encoder learned alone.

    Each encoder's pooled vector is pulled, by mean squared error, to that of a frozen copy of the encoder at the start
    of the stage. This helps where the encoders were pre-trained, in an earlier stage or elsewhere.

    Args:
        objective: to wrap.
        model: as it is when the stage starts.
        kinds: the modalities that the stage reads.
        weight: of the distance to the teachers.

    Raises:
        ConfigError: `weight` is below 0.
    """

    def __init__(
        self, objective: Objective, model: Multimodal, kinds: Iterable[str], weight: NonNegativeFloat = 1.0
    ) -> None:
        super().__init__()
        if weight < 0:
            raise ConfigError(f"balance.weight: {weight} is below 0")
        self.objective, self.weight = objective, weight
        self.teacher = nn.ModuleDict({m: copy.deepcopy(model.encoder[m]).requires_grad_(False).eval() for m in kinds})

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, and each encoder's distance to its teacher.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            The losses of the wrapped objective, with the sum as loss, and loss/teacher/<modality>.
        """
        if not self.training:
            validation_losses: dict[str, Tensor] = self.objective(model, batch)
            return validation_losses
        losses, features = compute_losses_and_features(self.objective, model, batch, list(self.teacher))
        with torch.no_grad():
            targets = get_pooled({m: teacher(batch.inputs[m]) for m, teacher in self.teacher.items()})
        distances = {}
        for modality, vector in get_pooled(features).items():
            squared_error = (vector - targets[modality]).square().mean(1)  # [B]
            mean = masked_mean(squared_error, batch.present[modality])
            distances[modality] = batch.weigh(mean, modality=modality)
        total = losses["loss"] + self.weight * sum_losses(distances.values())
        return {**losses, "loss": total, **{f"loss/teacher/{m}": distance for m, distance in distances.items()}}
