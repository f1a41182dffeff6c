"""Learn from inputs alone: hide or spoil a part of each modality, and recover it from what its encoder says."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.pretext import Pretext
from mmrun.types import Batch, Features, Objective


class SelfSupervised(Objective):
    """Pretraining by recovery, the pretext chosen by the kind of each modality.

    Alone, each encoder recovers its own input. `joint`: everything is spoiled at once, and each modality is recovered
    from its own features and the fused vector, so that one model is trained, the fusion included.
    """

    def __init__(
        self,
        by_kind: Mapping[str, Callable[..., Any]],
        kinds: Mapping[str, str],
        dims: Mapping[str, int],
        fusion_dim: int,
        facts: Mapping[str, Mapping[str, Any]],
        joint: bool = False,
    ) -> None:
        super().__init__()
        if joint and set(kinds) != set(dims):
            raise ConfigError("objective.joint: the fusion needs every modality, and for_each gives one; drop either")
        self.joint = joint
        pretexts = nn.ModuleDict()
        for modality, kind in kinds.items():
            if kind not in by_kind:
                raise ConfigError(
                    f"objective.by_kind: nothing for '{modality}', which is {kind} (there are {', '.join(by_kind)})"
                )
            dim = dims[modality] + (fusion_dim if joint else 0)
            pretexts[modality] = by_kind[kind](dim=dim, **facts[modality])
        self.pretext = cast(Mapping[str, Pretext], pretexts)

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Give the loss and its parts, "loss/<modality>": each the mean over the rows that have the modality."""
        spoiled, wanted = {}, {}
        for modality, pretext in self.pretext.items():
            spoiled[modality], wanted[modality] = pretext.corrupt(batch.inputs[modality])
        features = model.encode(spoiled)
        if self.joint:
            fused = model.fusion(features, batch.present)
            features = {modality: _beside(own, fused) for modality, own in features.items()}
        parts = {}
        for modality, pretext in self.pretext.items():
            rows = pretext.loss(features[modality], wanted[modality])
            present = batch.present[modality]
            parts[f"loss/{modality}"] = rows.where(present, 0).sum() / present.sum().clamp(min=1)
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}


def _beside(own: Features, fused: Tensor) -> Features:
    """Put the fused vector beside the pooled one and beside every token."""
    pooled = torch.cat([own.pooled, fused], -1)  # [B, D + fused]
    if own.tokens is None:
        return Features(pooled)
    each = fused.unsqueeze(1).expand(-1, own.tokens.shape[1], -1)
    return Features(pooled, torch.cat([own.tokens, each], -1), own.mask)
