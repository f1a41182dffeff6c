"""Fusions that attend to tokens. A modality without tokens contributes its pooled vector as its only token."""

from typing import Literal

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.positions import PositionKind, Rotary, Windows, build_positions
from mmrun.models.fusions.presence import build_projections, masked_mean, project_tokens, stack_present
from mmrun.models.fusions.tokens import Tokens, concat_tokens, init_tokens, prepend_tokens
from mmrun.models.fusions.transformer import Angles, Block, Transformer
from mmrun.types import Features, Fusion
from mmrun.values import Depth, ShareBelow1, Width


class Attention(Fusion):
    """Attention pooling: one learned query attends to the tokens of all modalities (Lee et al., 2019).

    The cheapest fusion that reads tokens: its cost is linear in their number.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the tokens and of the fused vector.
        num_heads: attention heads; must divide `dim`.
        positions: learned per modality, or none: the tokens are a set.
        dropout: see `transformer.Block`.
    """

    def __init__(
        self,
        dims: dict[str, int],
        dim: Width = 128,
        num_heads: Width = 4,
        positions: PositionKind = "learned",
        dropout: ShareBelow1 = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.project = build_projections(dims, dim)
        self.query = init_tokens(1, dim)
        self.block = Block(dim, num_heads, dropout)
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
        query = self.query.expand(context.shape[0], -1, -1)
        fused: Tensor = self.norm(self.block(query, mask, context)).squeeze(1)
        return fused


class SelfAttention(Fusion):
    """One transformer over the tokens of all modalities and a class token, whose output is the fused vector.

    The early fusion of single-stream models: VisualBERT (Li et al., 2019), ViLT (Kim, Son & Kim, 2021).

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the tokens and of the fused vector.
        num_heads: attention heads; must divide `dim`.
        num_layers: transformer blocks.
        positions: learned per modality, or none: the tokens are a set.
        dropout: see `transformer.Block`.
    """

    def __init__(
        self,
        dims: dict[str, int],
        dim: Width = 128,
        num_heads: Width = 4,
        num_layers: Depth = 2,
        positions: PositionKind = "learned",
        dropout: ShareBelow1 = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.project = build_projections(dims, dim)
        self.cls = init_tokens(1, dim)
        self.transformer = Transformer(dim, num_heads, num_layers, dropout)
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
        tokens = self.positions(project_tokens(self.project, features, present))
        x, mask = prepend_tokens(self.cls, *concat_tokens(tokens))
        fused: Tensor = self.norm(self.transformer(x, mask)[:, 0])
        return fused


class CrossAttention(Fusion):
    """MulT, the multimodal transformer (Tsai, Bai, Liang, Kolter, Morency & Salakhutdinov, 2019).

    The tokens of each modality attend to those of each other modality and are averaged; the averages, zero for a
    missing modality, are concatenated and projected. A single modality attends to itself. M * (M - 1) transformers:
    costly beyond three modalities.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the tokens and of the fused vector.
        num_heads: attention heads; must divide `dim`.
        num_layers: blocks of each transformer.
        positions: learned per modality; rotary: by time, see `positions.Rotary`; or none: the tokens are a set.
        dropout: see `transformer.Block`.
        windows: of the modalities that are recorded over time; used with positions=rotary only.
    """

    def __init__(
        self,
        dims: dict[str, int],
        dim: Width = 128,
        num_heads: Width = 4,
        num_layers: Depth = 1,
        positions: PositionKind | Literal["rotary"] = "learned",
        dropout: ShareBelow1 = 0.0,
        windows: Windows | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.project = build_projections(dims, dim)
        self.readers = nn.ModuleDict()
        for reader in dims:
            sources = [name for name in dims if name != reader] or [reader]
            self.readers[reader] = Reader(sources, dim, num_heads, num_layers, dropout)
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim * len(dims), dim)
        self.rotary = Rotary(dims, dim // num_heads, windows) if positions == "rotary" else None
        kind: PositionKind = "none" if positions == "rotary" else positions
        self.positions = build_positions(kind, dims, dim)  # last, so that it changes no other initial weight

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, tokens [B, T, D_m], or pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        tokens = self.positions(project_tokens(self.project, features, present))
        angles = None if self.rotary is None else self.rotary(tokens)
        averages = []
        for name, reader in self.readers.items():
            output = self.norm(reader(name, tokens, angles))
            averages.append(masked_mean(output, tokens[name][1]))
        fused: Tensor = self.out(torch.cat(averages, dim=1))
        return fused


class Reader(nn.Module):
    """One modality's part of `CrossAttention`: cross-attention per source modality, a merge, then self-attention.

    Args:
        sources: the modalities to attend to; their transformers are named `cross.<modality>`.
        dim: D.
        num_heads: attention heads; must divide `dim`.
        num_layers: blocks of each transformer.
        dropout: see `transformer.Block`.
    """

    def __init__(self, sources: list[str], dim: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.cross = nn.ModuleDict({name: Transformer(dim, num_heads, num_layers, dropout) for name in sources})
        self.merge = nn.Linear(dim * len(sources), dim)
        self.memory = Block(dim, num_heads, dropout)

    def forward(self, reader: str, tokens: dict[str, Tokens], angles: dict[str, Tensor] | None) -> Tensor:
        """Update one modality's tokens by attention to those of the sources.

        Args:
            reader: the modality.
            tokens: by modality, [B, T, D], with masks [B, T].
            angles: by modality, see `positions.Rotary`; None: tokens have no times.

        Returns:
            [B, T, D].
        """
        x, mask = tokens[reader]
        attended = []
        for source, transformer in self.cross.items():
            context, context_mask = tokens[source]
            attended.append(transformer(x, context_mask, context, _select(angles, reader, source)))
        merged = self.merge(torch.cat(attended, dim=2))
        output: Tensor = self.memory(merged, mask, angles=_select(angles, reader, reader))
        return output


def _select(angles: dict[str, Tensor] | None, queries: str, keys: str) -> Angles | None:
    return None if angles is None else (angles[queries], angles[keys])


class Bottleneck(Fusion):
    """MBT, the multimodal bottleneck transformer (Nagrani, Yang, Arnab, Jansen, Schmid & Sun, 2021).

    One transformer per modality; they exchange information only through a few learned tokens, which are averaged over
    the present modalities after each layer. Each stream has a class token of its own; the fused vector is the mean of
    those of the present modalities.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the tokens and of the fused vector.
        num_heads: attention heads; must divide `dim`.
        num_layers: at least 2: what one layer writes into the bottleneck, the next one reads.
        num_bottlenecks: S, the tokens shared by all modalities.
        positions: learned per modality, or none: the tokens are a set.
        dropout: see `transformer.Block`.

    Raises:
        ConfigError: there are fewer than 2 layers.
    """

    def __init__(
        self,
        dims: dict[str, int],
        dim: Width = 128,
        num_heads: Width = 4,
        num_layers: Depth = 2,
        num_bottlenecks: Width = 4,
        positions: PositionKind = "learned",
        dropout: ShareBelow1 = 0.0,
    ) -> None:
        super().__init__()
        if num_layers < 2:
            raise ConfigError(f"fusion.num_layers: with {num_layers} nothing crosses the bottleneck; set 2 or more")
        self.dim = dim
        self.project = build_projections(dims, dim)
        self.cls = nn.ParameterDict({name: init_tokens(1, dim) for name in dims})
        self.bottleneck = init_tokens(num_bottlenecks, dim)
        self.layers = nn.ModuleList(BottleneckLayer(list(dims), dim, num_heads, dropout) for _ in range(num_layers))
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
        presence = stack_present(list(self.project), present)
        tokens = self.positions(project_tokens(self.project, features, present))
        streams = {name: prepend_tokens(self.cls[name], x, mask) for name, (x, mask) in tokens.items()}
        shared = self.bottleneck.expand(presence.shape[0], -1, -1)
        for layer in self.layers:
            streams, shared = layer(streams, shared, presence)
        cls = torch.stack([x[:, 0] for x, _ in streams.values()], dim=1)  # [B, M, D]
        return masked_mean(self.norm(cls), presence)


class BottleneckLayer(nn.Module):
    """A layer of `Bottleneck`: a block per modality over its own tokens and the shared ones.

    Args:
        modalities: their blocks are named `blocks.<modality>`.
        dim: D.
        num_heads: attention heads; must divide `dim`.
        dropout: see `transformer.Block`.
    """

    def __init__(self, modalities: list[str], dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({name: Block(dim, num_heads, dropout) for name in modalities})

    def forward(self, streams: dict[str, Tokens], shared: Tensor, presence: Tensor) -> tuple[dict[str, Tokens], Tensor]:
        """Update the tokens of each modality and the shared ones.

        Args:
            streams: by modality, tokens [B, T, D] and their mask [B, T].
            shared: bottleneck tokens [B, S, D].
            presence: [B, M] bool.

        Returns:
            The new streams, and the shared tokens averaged over the present modalities.
        """
        num_shared = shared.shape[1]
        updated, versions = {}, []
        for name, block in self.blocks.items():
            x = block(*prepend_tokens(shared, *streams[name]))
            updated[name] = x[:, num_shared:], streams[name][1]
            versions.append(x[:, :num_shared].flatten(1))
        average = masked_mean(torch.stack(versions, dim=1), presence)  # [B, S * D]
        return updated, torch.unflatten(average, 1, (num_shared, -1))
