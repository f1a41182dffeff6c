"""The fusions that everything else is measured against: side by side, sum, mean, maximum."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.models.fusions.presence import concat, masked_mean, project_pooled, projections
from mmrun.types import Features, Fusion


class Concat(Fusion):
    """Pooled features side by side, then one layer: relu(W [x1, ..., xM] + b). A missing modality is zeros."""

    def __init__(self, dims: dict[str, int], dim: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.modalities = list(dims)
        self.project = nn.Linear(sum(dims.values()), dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        return self.dropout(F.relu(self.project(concat(self.modalities, features, present))))


class _Projected(Fusion):
    def __init__(self, dims: dict[str, int], dim: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.project = projections(dims, dim)
        self.dropout = nn.Dropout(dropout)

    def vectors(self, features: dict[str, Features], present: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return relu(W_i x_i + b_i) of each modality, zero where missing, [B, M, dim], and which are real, [B, M]."""
        vectors, mask = project_pooled(self.project, features, present)
        return torch.where(mask[..., None], F.relu(vectors), 0.0), mask


class Sum(_Projected):
    """Sum of relu(W_i x_i + b_i) over the present modalities: additive, so a linear head sees no interaction."""

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        vectors, _ = self.vectors(features, present)
        return self.dropout(vectors.sum(1))


class Mean(_Projected):
    """Mean of relu(W_i x_i + b_i) over the present modalities: as `Sum`, but of one scale whatever is missing."""

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        return self.dropout(masked_mean(*self.vectors(features, present)))


class Max(_Projected):
    """Largest relu(W_i x_i + b_i) of the present modalities, in each of the dim places."""

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        vectors, _ = self.vectors(features, present)
        return self.dropout(vectors.amax(1))  # after a ReLU the zeros of the missing never win
