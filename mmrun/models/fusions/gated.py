"""Fusions in which the modalities decide how much of each other is let through."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import concat, masked_softmax, pooled, project_pooled, projections, stacked
from mmrun.types import Features, Fusion


class Gated(Fusion):
    """Gated multimodal unit (Arevalo, Solorio, Montes-y-Gomez, Gonzalez, 2017).

    sum of z_i * tanh(W_i x_i + b_i): the gates z_i, one per place of the vector, look at all modalities and are a
    softmax over the present ones. For two that is the paper's sigmoid z and 1 - z.
    """

    def __init__(self, dims: dict[str, int], dim: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.project = projections(dims, dim)
        self.gate = projections(dict.fromkeys(dims, sum(dims.values())), dim)
        self.dropout = nn.Dropout(dropout)

    def weights(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, M, dim]
        """Return the gates: they sum to one over the present modalities."""
        everything = concat(list(self.gate), features, present)
        scores = torch.stack([gate(everything) for gate in self.gate.values()], dim=1)
        mask = stacked(list(self.gate), present)
        return masked_softmax(scores, mask[..., None], dim=1)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        vectors, _ = project_pooled(self.project, features, present)
        return self.dropout((self.weights(features, present) * torch.tanh(vectors)).sum(1))


class Film(Fusion):
    """Feature-wise linear modulation (Perez, Strub, de Vries, Dumoulin, Courville, 2018).

    relu(scale * (W x + b) + shift): one modality is modulated; every other one adds its part to the scale, which starts
    from 1, and to the shift. What is missing adds nothing; where the modulated one is missing, the shift is left.
    """

    def __init__(
        self, dims: dict[str, int], dim: int = 128, modulated: str | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if modulated is not None and modulated not in dims:
            raise ConfigError(f"fusion.modulated: '{modulated}' is none of the modalities {', '.join(dims)}")
        self.dim = dim
        self.modulated = next(iter(dims)) if modulated is None else modulated
        conditions = {name: width for name, width in dims.items() if name != self.modulated}
        self.project = projections({self.modulated: dims[self.modulated]}, dim)
        self.scale = projections(conditions, dim)
        self.shift = projections(conditions, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        vectors, here = project_pooled(self.project, features, present)
        vector = torch.where(here, vectors[:, 0], 0.0)
        scale, shift = torch.ones_like(vector), torch.zeros_like(vector)
        for name in self.scale:
            condition, there = pooled(features[name], present[name]), present[name][:, None]
            scale = scale + torch.where(there, self.scale[name](condition), 0.0)
            shift = shift + torch.where(there, self.shift[name](condition), 0.0)
        return self.dropout(F.relu(scale * vector + shift))
