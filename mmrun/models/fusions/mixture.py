"""A fusion whose parts share the rows out among themselves."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.models.fusions.presence import concat, stacked
from mmrun.types import Features, Fusion


class MixtureOfExperts(Fusion):
    """Mixture of experts (Jacobs, Jordan, Nowlan, Hinton, 1991).

    Each expert is a relu layer on all pooled features and on which modalities are there; a softmax gate that sees the
    same weighs them for each row, so that experts can settle on what is missing.
    """

    def __init__(self, dims: dict[str, int], dim: int = 128, num_experts: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.modalities = list(dims)
        width = sum(dims.values()) + len(dims)
        self.experts = nn.ModuleList(nn.Linear(width, dim) for _ in range(num_experts))
        self.gate = nn.Linear(width, num_experts)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        vectors = concat(self.modalities, features, present)
        x = torch.cat([vectors, stacked(self.modalities, present).to(vectors.dtype)], dim=1)
        experts = torch.stack([F.relu(expert(x)) for expert in self.experts], dim=1)  # [B, experts, dim]
        weights = self.gate(x).softmax(1)[..., None]
        return self.dropout((weights * experts).sum(1))
