"""Fusions in which modalities gate or modulate each other. They read pooled features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import (
    build_projections,
    concat_pooled,
    mask_pooled,
    masked_softmax,
    project_pooled,
    stack_present,
)
from mmrun.types import Features, Fusion
from mmrun.values import ShareBelow1, Width


class Gated(Fusion):
    """Gated multimodal unit (Arevalo, Solorio, Montes-y-Gomez & Gonzalez, 2017).

    Computes the sum over the present modalities of z_m * tanh(W_m x_m + b_m). The gates z_m, one per element of the
    vector, depend on all modalities. As in the paper, each is a sigmoid of its own, but those of two modalities are z
    and 1 - z, and where one of the two is missing, 0 and 1.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the fused vector.
        dropout: of the fused vector.
    """

    def __init__(self, dims: dict[str, int], dim: Width = 128, dropout: ShareBelow1 = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.project = build_projections(dims, dim)
        self.gate = build_projections(dict.fromkeys(dims, sum(dims.values())), dim)
        self.dropout = nn.Dropout(dropout)

    def compute_gates(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Compute the gates; that of a missing modality is zero.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            [B, M, D].
        """
        concatenated = concat_pooled(list(self.gate), features, present)
        scores = torch.stack([gate(concatenated) for gate in self.gate.values()], dim=1)
        mask = stack_present(list(self.gate), present)[..., None]
        if len(self.gate) == 2:  # a softmax of two scores is the sigmoid of their difference
            return masked_softmax(scores, mask, dim=1)
        return torch.where(mask, scores.sigmoid(), 0.0)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        vectors, _ = project_pooled(self.project, features, present)
        gates = self.compute_gates(features, present)
        fused: Tensor = self.dropout((gates * torch.tanh(vectors)).sum(1))
        return fused


class Film(Fusion):
    """Feature-wise linear modulation (Perez, Strub, de Vries, Dumoulin & Courville, 2018).

    Computes relu(scale * (W x + b) + shift): one modality is modulated; every other modality adds its part to the
    scale, which starts from 1, and to the shift. A missing modality adds nothing; where the modulated modality is
    missing, the shift alone remains.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the fused vector.
        modulated: the modality that is scaled and shifted; None: the first.
        dropout: of the fused vector.

    Raises:
        ConfigError: there is no modality `modulated`.
    """

    def __init__(
        self, dims: dict[str, int], dim: Width = 128, modulated: str | None = None, dropout: ShareBelow1 = 0.0
    ) -> None:
        super().__init__()
        if modulated is not None and modulated not in dims:
            raise ConfigError(f"fusion.modulated: '{modulated}' is none of the modalities {', '.join(dims)}")
        self.dim = dim
        self.modulated = next(iter(dims)) if modulated is None else modulated
        conditions = {name: width for name, width in dims.items() if name != self.modulated}
        self.project = build_projections({self.modulated: dims[self.modulated]}, dim)
        self.scale = build_projections(conditions, dim)
        self.shift = build_projections(conditions, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        vectors, mask = project_pooled(self.project, features, present)
        vector = torch.where(mask, vectors[:, 0], 0.0)  # [B, D]
        scale, shift = torch.ones_like(vector), torch.zeros_like(vector)
        for name in self.scale:
            condition, is_present = mask_pooled(features[name], present[name]), present[name][:, None]
            scale = scale + torch.where(is_present, self.scale[name](condition), 0.0)
            shift = shift + torch.where(is_present, self.shift[name](condition), 0.0)
        fused: Tensor = self.dropout(F.relu(scale * vector + shift))
        return fused


class Mmtm(Fusion):
    """MMTM, squeeze and excitation across modalities (Joze, Shaban, Iuzzolino & Koishida, 2020).

    The features of all modalities are squeezed into one joint vector, which excites the channels of each: x_m becomes
    2 * sigmoid(E_m z) * x_m with z = relu(S [x_1, ..., x_M]). Then they are concatenated and projected as in `concat`.
    In the paper such modules stand between the layers of the encoders; here one stands behind the last, where the
    feature maps are averaged.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the fused vector.
        ratio: the joint vector is 2 * sum of D_m / ratio wide, as in the authors' code.
        dropout: of the fused vector.
    """

    def __init__(self, dims: dict[str, int], dim: Width = 128, ratio: Width = 4, dropout: ShareBelow1 = 0.0) -> None:
        super().__init__()
        self.dim = dim
        width = sum(dims.values())
        squeezed = max(1, 2 * width // ratio)
        self.squeeze = nn.Linear(width, squeezed)
        self.excite = nn.ModuleDict({name: nn.Linear(squeezed, channels) for name, channels in dims.items()})
        self.project = nn.Linear(width, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        concatenated = concat_pooled(list(self.excite), features, present)
        joint = F.relu(self.squeeze(concatenated))
        excitations = torch.cat([excite(joint) for excite in self.excite.values()], dim=1)  # [B, sum of D_m]
        fused: Tensor = self.dropout(F.relu(self.project(2 * torch.sigmoid(excitations) * concatenated)))
        return fused
