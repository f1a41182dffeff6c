"""Fusions in which tokens read each other. A modality without tokens gives its pooled vector as the only one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import masked_mean, project_tokens, projections, stacked
from mmrun.models.fusions.transformer import Block, Transformer
from mmrun.types import Features, Fusion


def _joint(tokens: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:  # [B, sum of T, D], [B, sum of T]
    return torch.cat([x for x, _ in tokens.values()], dim=1), torch.cat([mask for _, mask in tokens.values()], dim=1)


def _learned(count: int, dim: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(1, count, dim) * 0.02)


def _put_first(learned: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:  # [B, S + T, D], [B, S + T]
    return torch.cat([learned.expand(x.shape[0], -1, -1), x], dim=1), F.pad(mask, (learned.shape[1], 0), value=True)


class Attention(Fusion):
    """One learned query reads the tokens of all modalities, as in attention pooling (Lee et al., 2019).

    The cheapest fusion that reads tokens: linear in their number.
    """

    def __init__(self, dims: dict[str, int], dim: int = 128, num_heads: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.project = projections(dims, dim)
        self.query = _learned(1, dim)
        self.block = Block(dim, num_heads, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        context, mask = _joint(project_tokens(self.project, features, present))
        query = self.query.expand(context.shape[0], -1, -1)
        return self.norm(self.block(query, mask, context)).squeeze(1)


class SelfAttention(Fusion):
    """One transformer over the tokens of all modalities and a learned one, `cls`, which is the result.

    The early fusion of single-stream models (Li et al., 2019, VisualBERT; Kim, Son, Kim, 2021, ViLT).
    """

    def __init__(
        self, dims: dict[str, int], dim: int = 128, num_heads: int = 4, num_layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.project = projections(dims, dim)
        self.cls = _learned(1, dim)
        self.transformer = Transformer(dim, num_heads, num_layers, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        x, mask = _put_first(self.cls, *_joint(project_tokens(self.project, features, present)))
        return self.norm(self.transformer(x, mask)[:, 0])


class CrossAttention(Fusion):
    """Multimodal transformer (Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov, 2019).

    The tokens of each modality read those of each other one and are averaged; the averages, zero for what is missing,
    are projected together. A single modality reads itself. M * (M - 1) transformers: costly beyond three modalities.
    """

    def __init__(
        self, dims: dict[str, int], dim: int = 128, num_heads: int = 4, num_layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.project = projections(dims, dim)
        self.readers = nn.ModuleDict()
        for reader in dims:
            others = [name for name in dims if name != reader] or [reader]
            self.readers[reader] = Reader(others, dim, num_heads, num_layers, dropout)
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim * len(dims), dim)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        tokens = project_tokens(self.project, features, present)
        averages = []
        for name, reader in self.readers.items():
            x, mask = tokens[name]
            averages.append(masked_mean(self.norm(reader(x, mask, tokens)), mask))
        return self.out(torch.cat(averages, dim=1))


class Reader(nn.Module):
    """One modality's part of `CrossAttention`: reads the others, `cross.<modality>`, merges that, then reads itself."""

    def __init__(self, others: list[str], dim: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.cross = nn.ModuleDict({name: Transformer(dim, num_heads, num_layers, dropout) for name in others})
        self.merge = nn.Linear(dim * len(others), dim)
        self.memory = Block(dim, num_heads, dropout)

    def forward(self, x: Tensor, mask: Tensor, tokens: dict[str, tuple[Tensor, Tensor]]) -> Tensor:  # [B, T, D]
        """Read, as x [B, T, D] with mask [B, T], the tokens of the others."""
        read = [transformer(x, tokens[name][1], tokens[name][0]) for name, transformer in self.cross.items()]
        return self.memory(self.merge(torch.cat(read, dim=2)), mask)


class Bottleneck(Fusion):
    """Multimodal bottleneck transformer (Nagrani, Yang, Arnab, Jansen, Schmid, Sun, 2021).

    A transformer per modality; all that passes between them are a few learned tokens, averaged over the present
    modalities after each layer. The result is the mean of the present modalities' `cls` tokens.
    """

    def __init__(
        self,
        dims: dict[str, int],
        dim: int = 128,
        num_heads: int = 4,
        num_layers: int = 2,
        num_bottlenecks: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if num_layers < 2:
            raise ConfigError(f"fusion.num_layers: with {num_layers} nothing crosses the bottleneck; set 2 or more")
        self.dim = dim
        self.project = projections(dims, dim)
        self.cls = _learned(1, dim)
        self.bottleneck = _learned(num_bottlenecks, dim)
        self.layers = nn.ModuleList(BottleneckLayer(list(dims), dim, num_heads, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        here = stacked(list(self.project), present)
        tokens = project_tokens(self.project, features, present)
        streams = {name: _put_first(self.cls, x, mask) for name, (x, mask) in tokens.items()}
        shared = self.bottleneck.expand(here.shape[0], -1, -1)
        for layer in self.layers:
            streams, shared = layer(streams, shared, here)
        cls = torch.stack([x[:, 0] for x, _ in streams.values()], dim=1)  # [B, M, dim]
        return masked_mean(self.norm(cls), here)


class BottleneckLayer(nn.Module):
    """A layer of `Bottleneck`: `blocks.<modality>`, each over its own tokens and the shared ones."""

    def __init__(self, modalities: list[str], dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({name: Block(dim, num_heads, dropout) for name in modalities})

    def forward(
        self, streams: dict[str, tuple[Tensor, Tensor]], shared: Tensor, here: Tensor
    ) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
        """Renew the streams ([B, T, D] and mask, by modality) and the shared tokens [B, S, D]; here is [B, M]."""
        count = shared.shape[1]
        renewed, versions = {}, []
        for name, block in self.blocks.items():
            x = block(*_put_first(shared, *streams[name]))
            renewed[name] = x[:, count:], streams[name][1]
            versions.append(x[:, :count].flatten(1))
        return renewed, masked_mean(torch.stack(versions, dim=1), here).unflatten(1, (count, -1))
