"""A transformer over one token per modality, in which a missing modality is a learned token."""

import torch
from torch import Tensor, nn

from mmrun.models.fusions.presence import build_projections, project_pooled
from mmrun.models.fusions.tokens import init_tokens, prepend_tokens
from mmrun.models.fusions.transformer import Transformer
from mmrun.types import Features, Fusion
from mmrun.values import Depth, ShareBelow1, Width


class LateTransformer(Fusion):
    """Late-fusion transformer with learned missing tokens (SimBaMM: Rheude et al., 2025).

    Each modality is one token, its pooled features; where it is missing, a learned token takes its place, so that the
    model can learn what its absence means. The output of a class token is the fused vector. The missing tokens learn
    only from rows that lack a modality: from the data, or with `strategy=modality_dropout`.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the tokens and of the fused vector.
        num_heads: attention heads; must divide `dim`.
        num_layers: transformer blocks.
        dropout: see `transformer.Block`.
    """

    def __init__(
        self,
        dims: dict[str, int],
        dim: Width = 128,
        num_heads: Width = 4,
        num_layers: Depth = 2,
        dropout: ShareBelow1 = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.project = build_projections(dims, dim)
        self.missing = nn.ParameterDict({name: init_tokens(1, dim) for name in dims})
        self.cls = init_tokens(1, dim)
        self.transformer = Transformer(dim, num_heads, num_layers, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        vectors, mask = project_pooled(self.project, features, present)  # [B, M, D], [B, M]
        missing = torch.cat([self.missing[name] for name in self.project], dim=1)  # [1, M, D]
        tokens = torch.where(mask[..., None], vectors, missing)
        x, is_real = prepend_tokens(self.cls, tokens, torch.ones_like(mask))
        fused: Tensor = self.norm(self.transformer(x, is_real)[:, 0])
        return fused
