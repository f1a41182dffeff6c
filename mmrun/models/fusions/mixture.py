"""Mixture-of-experts fusion, on pooled features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.models.fusions.presence import concat_pooled, stack_present
from mmrun.types import Features, Fusion
from mmrun.values import ShareBelow1, Width


class MixtureOfExperts(Fusion):
    """Mixture of experts (Jacobs, Jordan, Nowlan & Hinton, 1991).

    Each expert is a ReLU layer on the pooled features of all modalities and on the flags that say which are present. A
    softmax gate reads the same and weights the experts per row, so that experts can specialise in what is missing.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the fused vector.
        num_experts: E.
        dropout: of the fused vector.
    """

    def __init__(
        self, dims: dict[str, int], dim: Width = 128, num_experts: Width = 4, dropout: ShareBelow1 = 0.0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.modalities = list(dims)
        width = sum(dims.values()) + len(dims)
        self.experts = nn.ModuleList(nn.Linear(width, dim) for _ in range(num_experts))
        self.gate = nn.Linear(width, num_experts)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        vectors = concat_pooled(self.modalities, features, present)
        flags = stack_present(self.modalities, present).to(vectors.dtype)
        x = torch.cat([vectors, flags], dim=1)  # [B, sum of D_m + M]
        experts = torch.stack([F.relu(expert(x)) for expert in self.experts], dim=1)  # [B, E, D]
        weights = self.gate(x).softmax(1)[..., None]  # [B, E, 1]
        fused: Tensor = self.dropout((weights * experts).sum(1))
        return fused
