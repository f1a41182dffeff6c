"""Graph attention over the modalities, on pooled features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import build_projections, masked_mean, masked_softmax, project_pooled
from mmrun.types import Features, Fusion
from mmrun.values import Depth, ShareBelow1, Width


class GraphAttention(nn.Module):
    """Graph attention layer (Velickovic, Cucurull, Casanova, Romero, Lio & Bengio, 2018) with a residual connection.

    Its score is leaky_relu(a [W x_i, W x_j]) instead of a dot product, so it cannot use torch's fused attention.

    Args:
        dim: D, the width of a node.
        num_heads: must divide `dim`.
        dropout: of the attention weights.

    Raises:
        ConfigError: `num_heads` does not divide `dim`.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if dim % num_heads != 0:
            raise ConfigError(f"fusion.num_heads: {num_heads} does not divide fusion.dim={dim}")
        self.num_heads = num_heads
        self.value = nn.Linear(dim, dim, bias=False)
        self.reader = nn.Parameter(torch.empty(num_heads, dim // num_heads))  # first half of a, for the node i
        self.read = nn.Parameter(torch.empty(num_heads, dim // num_heads))  # second half, for its neighbour j
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.reader)
        nn.init.xavier_uniform_(self.read)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Update each node with a message from its neighbours.

        Args:
            nodes: [B, M, D].
            edges: [B, M, M] bool; at [b, i, j] whether node i reads node j.

        Returns:
            [B, M, D].
        """
        values = self.value(nodes).unflatten(2, (self.num_heads, -1))  # [B, M, heads, D / heads]
        reader, read = (values * self.reader).sum(3), (values * self.read).sum(3)  # [B, M, heads]
        scores = F.leaky_relu(reader[:, :, None] + read[:, None, :], 0.2)  # [B, M, M, heads]
        weights = self.dropout(masked_softmax(scores, edges[..., None], dim=2))
        message = torch.einsum("bijh,bjhd->bihd", weights, values)
        return nodes + F.elu(message.flatten(2))


class Graph(Fusion):
    """Pass messages between the present modalities with `GraphAttention`, then average them.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the nodes and of the fused vector.
        num_heads: attention heads per layer.
        num_layers: rounds of messages.
        dropout: of the attention weights.
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
        self.layers = nn.ModuleList(GraphAttention(dim, num_heads, dropout) for _ in range(num_layers))

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        nodes, mask = project_pooled(self.project, features, present)  # [B, M, D], [B, M]
        edges = mask[:, None, :].expand(-1, len(self.project), -1)  # every node reads the present ones, itself included
        for layer in self.layers:
            nodes = layer(nodes, edges)
        return masked_mean(nodes, mask)
