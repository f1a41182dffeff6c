"""Self-supervised pre-training: corrupt each modality, and predict what was lost from its encoder's features."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import masked_mean, sum_losses
from mmrun.objectives.pretext import Pretext
from mmrun.types import Batch, Features, Objective


class SelfSupervised(Objective):
    """Self-supervised pre-training with the pretext of each modality's kind.

    By default each encoder learns from its own modality. With `joint`, all modalities are corrupted at once and each
    is recovered from its own features and the fused vector, so that the fusion is trained too.

    Args:
        by_kind: builds the pretext of a kind; each pretext names its paper.
        kinds: kind of each modality that the stage reads.
        dims: width of the features of each encoder.
        fusion_dim: width of the fused vector.
        metadata: by modality, the arguments that its preprocessor offers to pretexts.
        model: whose encoders are checked against the pretexts.
        joint: recover each modality with the help of the fused vector.

    Raises:
        ConfigError: a kind has no pretext, an encoder cannot learn it, or `joint` does not fit.
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
            require_all_modalities("objective.joint", kinds, dims)
        self.joint = joint
        widths = {modality: dims[modality] + (fusion_dim if joint else 0) for modality in kinds}
        self.pretext = build_pretexts(by_kind, kinds, widths, metadata, "objective.joint" if joint else None)
        for modality, pretext in self.pretext.items():
            pretext.check(model.encoder[modality], f"encoder.{modality}")
            pretext.attach(model.encoder[modality])

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts, each the mean over the rows where the modality is present.

        Args:
            model: to be trained.
            batch: targets are not used.

        Returns:
            loss, loss/<modality>.
        """
        corrupted, targets = {}, {}
        for modality, pretext in self.pretext.items():
            corrupted[modality], targets[modality] = pretext.corrupt(batch.inputs[modality], batch.present[modality])
        features = model.encode(corrupted)
        if self.joint:
            fused = model.fusion(features, batch.present)
            features = {modality: _concat_fused(unimodal, fused) for modality, unimodal in features.items()}
        parts = {}
        for modality, pretext in self.pretext.items():
            rows = pretext.loss(features[modality], targets[modality])
            mean = masked_mean(rows, batch.present[modality])
            parts[f"loss/{modality}"] = batch.weigh(mean, modality=modality)
        return {"loss": sum_losses(parts.values()), **parts}

    def on_step_start(self, progress: float) -> None:
        """Let pretexts follow their schedules."""
        for pretext in self.pretext.values():
            pretext.set_progress(progress)

    def on_step_end(self, model: nn.Module) -> None:
        """Let pretexts follow their encoders."""
        assert isinstance(model, Multimodal)
        for modality, pretext in self.pretext.items():
            pretext.update(model.encoder[modality])


def require_all_modalities(key_path: str, kinds: Mapping[str, str], dims: Mapping[str, int]) -> None:
    """Reject a stage that does not read every modality of the model.

    Args:
        key_path: of what needs them, for the message.
        kinds: the modalities that the stage reads.
        dims: the modalities of the model.

    Raises:
        ConfigError: one is missing.
    """
    if set(kinds) != set(dims):
        raise ConfigError(
            f"{key_path}: the fusion needs every modality, but for_each gives the stage only one; drop either"
        )


def build_pretexts(
    by_kind: Mapping[str, Callable[..., Any]],
    kinds: Mapping[str, str],
    dims: Mapping[str, int],
    metadata: Mapping[str, Mapping[str, Any]],
    fused_key: str | None = None,
) -> Mapping[str, Pretext]:
    """Build the pretext of each modality.

    Args:
        by_kind: builds the pretext of a kind.
        kinds: kind of each modality.
        dims: by modality, the width of the vector that it is recovered from.
        metadata: by modality, the arguments that its preprocessor offers to pretexts.
        fused_key: the YAML key because of which that vector contains the fused one, for the message; None: it does not.

    Returns:
        By modality; also an nn.Module.

    Raises:
        ConfigError: a kind has no pretext, or one that cannot use the fused vector.
    """
    pretexts = nn.ModuleDict()
    for modality, kind in kinds.items():
        if kind not in by_kind:
            raise ConfigError(
                f"objective.by_kind: no pretext for '{modality}', which is {kind} (there are {', '.join(by_kind)})"
            )
        if "item_pooling" in metadata[modality]:
            raise ConfigError(
                f"objective.by_kind: '{modality}' has several items in a row, and a pretext corrupts a single one; "
                "leave it out of this stage, or choose a strategy without pretexts"
            )
        pretext: Pretext = by_kind[kind](dim=dims[modality], **metadata[modality])
        if fused_key is not None and pretext.alone:
            raise ConfigError(
                f"{fused_key}: the fused vector already contains what {type(pretext).__name__} has to predict; "
                f"choose another by_kind.{kind}"
            )
        pretexts[modality] = pretext
    return cast(Mapping[str, Pretext], pretexts)


def _concat_fused(unimodal: Features, fused: Tensor) -> Features:
    """Concatenate the fused vector to the pooled one and to every token."""
    pooled = torch.cat([unimodal.pooled, fused], -1)  # [B, D + fused]
    if unimodal.tokens is None:
        return Features(pooled)
    expanded = fused.unsqueeze(1).expand(-1, unimodal.tokens.shape[1], -1)
    return Features(pooled, torch.cat([unimodal.tokens, expanded], -1), unimodal.mask)
