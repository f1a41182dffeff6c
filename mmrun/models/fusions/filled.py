"""A fusion that is not told which modalities are missing: their features are filled instead."""

from typing import Literal

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.cross_modal_vae import CrossModalVae
from mmrun.types import Features, Fusion, UnimodalDecision

Fill = Literal["zero", "mean", "token", "generate"]
MOMENTUM = 0.1  # of the running mean, as that of batch norm


class Filled(Fusion):
    """Fills the features of a missing modality, then fuses as if every row had every modality.

    A row without a modality gets one vector in place of its pooled features, and as its only token.

    Args:
        fusion: fuses the filled features.
        dims: D_m by modality.
        fill: zero: zeros; mean: the running mean of the pooled features of training rows; token: a learned vector;
            generate: what a variational autoencoder generates from the modalities that the row has.

    Raises:
        ConfigError: a single modality is to be generated from others.
    """

    def __init__(self, fusion: Fusion, dims: dict[str, int], fill: Fill) -> None:
        super().__init__()
        self.dim = fusion.dim
        self.fusion = fusion
        self.fill = fill
        self.token = nn.ParameterDict()
        if fill == "generate":
            if len(dims) < 2:
                names = ", ".join(dims)
                raise ConfigError(f"missing=generate: {names} is the only modality; choose zero, mean or token")
            self.generator = CrossModalVae(dims)
        for modality, dim in dims.items():
            if fill == "token":
                self.token[modality] = nn.Parameter(torch.randn(dim) * 0.02)
            elif fill != "generate":
                self.register_buffer(f"mean_{modality}", torch.zeros(dim))

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fill, then fuse.

        Args:
            features: by modality.
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        if self.fill == "mean" and self.training:
            for modality, modality_features in features.items():
                self._update_mean(modality, modality_features.pooled.detach(), present[modality])
        filled, all_present = self._fill(features, present)
        fused: Tensor = self.fusion(filled, all_present)
        return fused

    def head(self, num_outputs: int) -> nn.Module:
        """Build the head of the fusion inside; see `Fusion.head`."""
        return self.fusion.head(num_outputs)

    def decide_alone(self, features: dict[str, Features], present: dict[str, Tensor]) -> dict[str, UnimodalDecision]:
        """Return what each modality decides alone in the fusion inside; see `Fusion.decide_alone`."""
        return self.fusion.decide_alone(*self._fill(features, present))

    def auxiliary_losses(self, features: dict[str, Features], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of the generator, if any, and of the fusion inside; see `Fusion.auxiliary_losses`."""
        losses = self.fusion.auxiliary_losses(*self._fill(features, present))
        if self.fill != "generate":
            return losses
        generation = self.generator.losses(_select_pooled(features), present)
        return {modality: loss + losses.get(modality, 0.0) for modality, loss in generation.items()}

    def _fill(
        self, features: dict[str, Features], present: dict[str, Tensor]
    ) -> tuple[dict[str, Features], dict[str, Tensor]]:
        vectors, filled = self._vectors(features, present), {}
        for modality, modality_features in features.items():
            filled[modality] = _replace_missing(modality_features, present[modality], vectors[modality])
        return filled, {modality: torch.ones_like(present[modality]) for modality in features}

    def _vectors(self, features: dict[str, Features], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what replaces each modality where it is missing, [D_m] or [B, D_m]."""
        if self.fill == "generate":
            generated: dict[str, Tensor] = self.generator(_select_pooled(features), present)
            if self.training:  # the losses of tasks do not teach the generator; explanations need gradients
                return {modality: vector.detach() for modality, vector in generated.items()}
            return generated
        if self.fill == "token":
            return {modality: self.token[modality] for modality in features}
        return {modality: self.get_buffer(f"mean_{modality}") for modality in features}

    def _update_mean(self, modality: str, pooled: Tensor, present: Tensor) -> None:
        """Move the running mean towards that of the rows which have the modality; stay where there is none."""
        mean = self.get_buffer(f"mean_{modality}")
        count = present.sum()
        batch_sum = torch.where(present[:, None], pooled, 0.0).float().sum(0) / count.clamp(min=1)
        mean += MOMENTUM * (batch_sum - mean) * (count > 0)


def _select_pooled(features: dict[str, Features]) -> dict[str, Tensor]:
    return {modality: modality_features.pooled for modality, modality_features in features.items()}


def _replace_missing(features: Features, present: Tensor, vector: Tensor) -> Features:
    """Put a vector, [D] or [B, D], where a modality is missing, in the type of the features."""
    vector = vector.to(features.pooled.dtype)
    pooled = torch.where(present[:, None], features.pooled, vector)
    if features.tokens is None:
        return Features(pooled)
    tokens = torch.where(present[:, None, None], features.tokens, vector.unsqueeze(-2))
    if features.mask is None:
        return Features(pooled, tokens)
    is_first = torch.arange(features.mask.shape[1], device=present.device) == 0
    return Features(pooled, tokens, torch.where(present[:, None], features.mask, is_first))
