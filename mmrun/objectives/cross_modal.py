"""Cross-modal masked modelling: recover each modality from the others alone."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import masked_mean, sum_losses
from mmrun.objectives.self_supervised import build_pretexts, require_all_modalities
from mmrun.types import Batch, Features, Objective

RECOVERABLE = "recoverable "  # before a modality: the mask of its rows


class CrossModal(Objective):
    """Masked modelling across modalities (after FLAVA: Singh et al., 2022): the fused others recover a hidden one.

    Joint self-supervised training leaves each modality a part of its own input, and the model may rely on that alone;
    here nothing of it is left. The target is that of the pretext of its kind. The fusion runs once for each modality.

    Args:
        by_kind: builds the pretext of a kind.
        kinds: kind of each modality that the stage reads; two at least.
        dims: width of the features of each encoder.
        fusion_dim: width of the fused vector.
        metadata: by modality, the arguments that its preprocessor offers to pretexts.

    Raises:
        ConfigError: the stage does not read every modality, there is a single one, or a kind has no suitable pretext.
    """

    def __init__(
        self,
        by_kind: Mapping[str, Callable[..., Any]],
        kinds: Mapping[str, str],
        dims: Mapping[str, int],
        fusion_dim: int,
        metadata: Mapping[str, Mapping[str, Any]],
    ) -> None:
        super().__init__()
        require_all_modalities("objective", kinds, dims)
        if len(kinds) < 2:
            raise ConfigError(
                f"objective: a modality is recovered from others, and the model has only {', '.join(kinds)}; "
                "add a modality"
            )
        fused_dims = dict.fromkeys(kinds, fusion_dim)
        self.pretext = build_pretexts(by_kind, kinds, fused_dims, metadata, fused_key="objective")

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        """Return which rows have a modality and another one to recover it from; see `Objective.masks`."""
        recoverable = {}
        for modality in self.pretext:
            others = torch.stack(list(without(batch.present, modality).values()))
            recoverable[RECOVERABLE + modality] = batch.present[modality] & others.any(0)
        return recoverable

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts, means over the rows that have the modality and at least one other.

        Args:
            model: to be trained.
            batch: targets are not used.

        Returns:
            loss, loss/<modality>.
        """
        features = model.encode({modality: batch.inputs[modality] for modality in self.pretext})
        parts, recoverable = {}, self.masks(batch)
        for modality, pretext in self.pretext.items():
            present = batch.present[modality]
            others_present = without(batch.present, modality)
            _, target = pretext.corrupt(batch.inputs[modality], present)
            losses = pretext.loss(Features(model.fusion(features, others_present)), target)
            mask = RECOVERABLE + modality
            parts[f"loss/{modality}"] = batch.weigh(masked_mean(losses, recoverable[mask]), mask)
        return {"loss": sum_losses(parts.values()), **parts}


def without(present: dict[str, Tensor], modality: str) -> dict[str, Tensor]:
    """Return which modalities are present where one of them is absent everywhere.

    Args:
        present: by modality, [B] bool.
        modality: that is made absent.
    """
    return {**present, modality: torch.zeros_like(present[modality])}
