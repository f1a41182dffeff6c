"""Learn from inputs alone: hide or spoil a part of each modality, and recover it from what its encoder says."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import summed
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
        metadata: Mapping[str, Mapping[str, Any]],
        model: Multimodal,
        joint: bool = False,
    ) -> None:
        super().__init__()
        if joint:
            need_every("objective.joint", kinds, dims)
        self.joint = joint
        widths = {modality: dims[modality] + (fusion_dim if joint else 0) for modality in kinds}
        self.pretext = pretexts(by_kind, kinds, widths, metadata, "objective.joint" if joint else None)
        for modality, pretext in self.pretext.items():
            pretext.check(model.encoder[modality], f"encoder.{modality}")

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts, "loss/<modality>": each the mean over the rows that have the modality."""
        spoiled, wanted = {}, {}
        for modality, pretext in self.pretext.items():
            spoiled[modality], wanted[modality] = pretext.corrupt(batch.inputs[modality], batch.present[modality])
        features = model.encode(spoiled)
        if self.joint:
            fused = model.fusion(features, batch.present)
            features = {modality: _beside(own, fused) for modality, own in features.items()}
        parts = {}
        for modality, pretext in self.pretext.items():
            rows = pretext.loss(features[modality], wanted[modality])
            parts[f"loss/{modality}"] = mean_over(rows, batch.present[modality])
        return {"loss": summed(parts.values()), **parts}


def need_every(key_path: str, kinds: Mapping[str, str], dims: Mapping[str, int]) -> None:
    """Refuse a stage that does not read every modality of the model."""
    if set(kinds) != set(dims):
        raise ConfigError(f"{key_path}: the fusion needs every modality, and for_each gives one; drop either")


def pretexts(
    by_kind: Mapping[str, Callable[..., Any]],
    kinds: Mapping[str, str],
    dims: Mapping[str, int],  # of what each modality is recovered from
    metadata: Mapping[str, Mapping[str, Any]],
    helped: str | None = None,  # the YAML key that has the fused vector help
) -> Mapping[str, Pretext]:  # also an nn.Module
    """Make the pretext of each modality."""
    made = nn.ModuleDict()
    for modality, kind in kinds.items():
        if kind not in by_kind:
            raise ConfigError(
                f"objective.by_kind: nothing for '{modality}', which is {kind} (there are {', '.join(by_kind)})"
            )
        pretext: Pretext = by_kind[kind](dim=dims[modality], **metadata[modality])
        if helped is not None and pretext.alone:
            name = type(pretext).__name__
            raise ConfigError(
                f"{helped}: the fused vector already contains what {name} has to predict; choose another by_kind.{kind}"
            )
        made[modality] = pretext
    return cast(Mapping[str, Pretext], made)


def mean_over(rows: Tensor, counted: Tensor) -> Tensor:  # [B], [B] bool
    """Average the rows that count; 0 where none does."""
    return rows.where(counted, 0).sum() / counted.sum().clamp(min=1)


def _beside(own: Features, fused: Tensor) -> Features:
    """Put the fused vector beside the pooled one and beside every token."""
    pooled = torch.cat([own.pooled, fused], -1)  # [B, D + fused]
    if own.tokens is None:
        return Features(pooled)
    each = fused.unsqueeze(1).expand(-1, own.tokens.shape[1], -1)
    return Features(pooled, torch.cat([own.tokens, each], -1), own.mask)
