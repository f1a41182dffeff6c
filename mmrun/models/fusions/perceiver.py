"""The Perceiver as a fusion: learned latents read the tokens of all modalities."""

import torch
from torch import Tensor, nn

from mmrun.models.fusions.positions import PositionKind, build_positions
from mmrun.models.fusions.presence import build_projections, project_tokens
from mmrun.models.fusions.tokens import concat_tokens, init_tokens
from mmrun.models.fusions.transformer import Block
from mmrun.types import Features, Fusion
from mmrun.values import Depth, ShareBelow1, Width


class Perceiver(Fusion):
    """Perceiver (Jaegle, Gimeno, Brock, Zisserman, Vinyals & Carreira, 2021).

    In each layer, learned latents attend to the tokens of all modalities, then to each other; the fused vector is their
    mean after the last. The cost is linear in the number of tokens, and tokens never attend to tokens.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the tokens, of the latents and of the fused vector.
        num_heads: attention heads; must divide `dim`.
        num_layers: each a cross-attention and a self-attention block, with weights of their own.
        num_latents: L.
        positions: learned per modality, or none: the tokens are a set.
        dropout: see `transformer.Block`.
    """

    def __init__(
        self,
        dims: dict[str, int],
        dim: Width = 128,
        num_heads: Width = 4,
        num_layers: Depth = 2,
        num_latents: Width = 16,
        positions: PositionKind = "learned",
        dropout: ShareBelow1 = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.project = build_projections(dims, dim)
        self.latents = init_tokens(num_latents, dim)
        self.cross = nn.ModuleList(Block(dim, num_heads, dropout) for _ in range(num_layers))
        self.mix = nn.ModuleList(Block(dim, num_heads, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.positions = build_positions(positions, dims, dim)  # last, so that it changes no other initial weight

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, tokens [B, T, D_m], or pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        context, mask = concat_tokens(self.positions(project_tokens(self.project, features, present)))
        latents = self.latents.expand(context.shape[0], -1, -1)  # [B, L, D]
        all_latents = torch.ones(latents.shape[:2], dtype=torch.bool, device=mask.device)
        for cross, mix in zip(self.cross, self.mix, strict=True):
            latents = mix(cross(latents, mask, context), all_latents)
        fused: Tensor = self.norm(latents.mean(1))
        return fused
