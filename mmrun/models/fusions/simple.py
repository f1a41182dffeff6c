"""The baseline fusions: concatenation, sum, mean, maximum. They read pooled features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.models.fusions.presence import build_projections, concat_pooled, masked_mean, project_pooled
from mmrun.types import Features, Fusion
from mmrun.values import ShareBelow1, Width


class Concat(Fusion):
    """Concatenate the pooled features, then apply one layer: relu(W [x_1, ..., x_M] + b).

    A missing modality is zeros.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the fused vector.
        dropout: of the fused vector.
    """

    def __init__(self, dims: dict[str, int], dim: Width = 128, dropout: ShareBelow1 = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.modalities = list(dims)
        self.project = nn.Linear(sum(dims.values()), dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        fused: Tensor = self.dropout(F.relu(self.project(concat_pooled(self.modalities, features, present))))
        return fused


class _Projected(Fusion):
    """Base of the fusions that reduce relu(W_m x_m + b_m) over the modalities m."""

    def __init__(self, dims: dict[str, int], dim: Width = 128, dropout: ShareBelow1 = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.project = build_projections(dims, dim)
        self.dropout = nn.Dropout(dropout)

    def project_features(self, features: dict[str, Features], present: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute relu(W_m x_m + b_m) for each modality.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Vectors [B, M, D], zero where the modality is missing, and [B, M] bool, True where it is present.
        """
        vectors, mask = project_pooled(self.project, features, present)
        return torch.where(mask[..., None], F.relu(vectors), 0.0), mask


class Sum(_Projected):
    """Sum relu(W_m x_m + b_m) over the present modalities. It is additive: a linear head sees no interaction.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the fused vector.
        dropout: of the fused vector.
    """

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        vectors, _ = self.project_features(features, present)
        fused: Tensor = self.dropout(vectors.sum(1))
        return fused


class Mean(_Projected):
    """Average relu(W_m x_m + b_m) over the present modalities: `Sum` at the same scale however many are missing.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the fused vector.
        dropout: of the fused vector.
    """

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        vectors, mask = self.project_features(features, present)
        fused: Tensor = self.dropout(masked_mean(vectors, mask))
        return fused


class Max(_Projected):
    """Take the elementwise maximum of relu(W_m x_m + b_m) over the present modalities.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the fused vector.
        dropout: of the fused vector.
    """

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        vectors, _ = self.project_features(features, present)
        fused: Tensor = self.dropout(vectors.amax(1))  # after a ReLU, the zeros of a missing modality never win
        return fused
