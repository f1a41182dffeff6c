"""Recover each modality from the others alone."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import summed
from mmrun.objectives.self_supervised import mean_over, need_every, pretexts
from mmrun.types import Batch, Features, Objective


class CrossModal(Objective):
    """Masked modelling across modalities (after Singh et al., 2022): one is hidden whole, the fused others recover it.

    Joint self-supervision leaves each modality a part of its own, which may be all that it looks at. Here nothing is
    left. What is to be recovered is what the pretext of its kind wants. The fusion runs once for each modality.
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
        need_every("objective", kinds, dims)
        if len(kinds) < 2:
            raise ConfigError(f"objective: others must help, and here is only {', '.join(kinds)}; add a modality")
        self.pretext = pretexts(by_kind, kinds, dict.fromkeys(kinds, fusion_dim), metadata, helped="objective")

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts, "loss/<modality>": means over the rows that have it and another."""
        features = model.encode({modality: batch.inputs[modality] for modality in self.pretext})
        parts = {}
        for modality, pretext in self.pretext.items():
            here = batch.present[modality]
            others = {**batch.present, modality: torch.zeros_like(here)}
            _, wanted = pretext.corrupt(batch.inputs[modality], here)
            rows = pretext.loss(Features(model.fusion(features, others)), wanted)
            parts[f"loss/{modality}"] = mean_over(rows, here & torch.stack(list(others.values())).any(0))
        return {"loss": summed(parts.values()), **parts}
