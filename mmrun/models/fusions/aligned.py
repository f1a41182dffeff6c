"""The fusion of encoders that share a space: the mean of their normalised vectors."""

from collections import Counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.models.fusions.presence import mask_pooled, masked_mean, stack_present
from mmrun.types import Features, Fusion


class Aligned(Fusion):
    """Average the pooled features, each scaled to length 1, over the present modalities.

    For towers that one model aligned, such as those of CLIP (Radford et al., 2021): in their space a head can compare
    rows with the names of classes (`head.prompt`). The space is that of the most frequent width; only modalities of
    another width are projected into it, by a linear layer.

    Args:
        dims: D_m, the width of each modality's features.
    """

    def __init__(self, dims: dict[str, int]) -> None:
        super().__init__()
        self.dim = Counter(dims.values()).most_common(1)[0][0]
        self.modalities = list(dims)
        others = {modality: width for modality, width in dims.items() if width != self.dim}
        self.project = nn.ModuleDict({modality: nn.Linear(width, self.dim) for modality, width in others.items()})

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        vectors = []
        for modality in self.modalities:
            pooled = mask_pooled(features[modality], present[modality])
            projected = self.project[modality](pooled) if modality in self.project else pooled
            vectors.append(F.normalize(projected, dim=1))
        return masked_mean(torch.stack(vectors, dim=1), stack_present(self.modalities, present))
