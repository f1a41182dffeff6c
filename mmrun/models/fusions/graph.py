"""A fusion in which the modalities are the nodes of a graph."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import masked_mean, masked_softmax, project_pooled, projections
from mmrun.types import Features, Fusion


class GraphAttention(nn.Module):
    """Graph attention layer (Velickovic, Cucurull, Casanova, Romero, Lio, Bengio, 2018) over M nodes, with a residual.

    Its score is leaky_relu(a [Wx_i, Wx_j]), no dot product, so the softmax over the M nodes stands here in full.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if dim % num_heads != 0:
            raise ConfigError(f"fusion.num_heads: {num_heads} does not divide fusion.dim={dim}")
        self.num_heads = num_heads
        self.value = nn.Linear(dim, dim, bias=False)
        self.reader = nn.Parameter(torch.empty(num_heads, dim // num_heads))  # the two halves of a
        self.read = nn.Parameter(torch.empty(num_heads, dim // num_heads))
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.reader)
        nn.init.xavier_uniform_(self.read)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Let the nodes [B, M, dim] read each other where there are edges [B, M, M], reader first."""
        values = self.value(nodes).unflatten(2, (self.num_heads, -1))  # [B, M, heads, dim / heads]
        reader, read = (values * self.reader).sum(3), (values * self.read).sum(3)  # [B, M, heads]
        scores = F.leaky_relu(reader[:, :, None] + read[:, None, :], 0.2)  # [B, M, M, heads]
        weights = self.dropout(masked_softmax(scores, edges[..., None], dim=2))
        message = torch.einsum("bijh,bjhd->bihd", weights, values)
        return nodes + F.elu(message.flatten(2))


class Graph(Fusion):
    """Modalities as nodes, message passing by `GraphAttention` between the present ones, then their mean."""

    def __init__(
        self, dims: dict[str, int], dim: int = 128, num_heads: int = 4, num_layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.project = projections(dims, dim)
        self.layers = nn.ModuleList(GraphAttention(dim, num_heads, dropout) for _ in range(num_layers))

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        nodes, here = project_pooled(self.project, features, present)
        edges = here[:, None, :].expand(-1, len(self.project), -1)  # everyone reads the present, itself included
        for layer in self.layers:
            nodes = layer(nodes, edges)
        return masked_mean(nodes, here)
