"""Encoders of table rows: numbers that may be missing, and categories."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mmrun.models.encoders.sequence import Blocks
from mmrun.types import Encoder, Features


class Categories(nn.Module):
    """An embedding for each category of each column; index 0 of a column stands for missing or never seen."""

    first: Tensor

    def __init__(self, cardinalities: Sequence[int], dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sum(cardinalities), dim)
        starts = [sum(cardinalities[:column]) for column in range(len(cardinalities))]
        self.register_buffer("first", torch.tensor(starts, dtype=torch.int64), persistent=False)  # [K]

    def forward(self, categorical: Tensor) -> Tensor:  # [B, K] -> [B, K, E]
        """Embed."""
        return self.embedding(categorical + self.first)


class Mlp(Encoder):
    """Numbers, their missing flags and embedded categories side by side, through fully connected layers. No tokens."""

    kind = "tabular"

    def __init__(
        self,
        num_numeric: int,
        cardinalities: Sequence[int],
        dims: Sequence[int] = (128, 128),
        embedding_dim: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.dim = dims[-1]
        self.categories = Categories(cardinalities, embedding_dim)
        widths = [2 * num_numeric + len(cardinalities) * embedding_dim, *dims]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU(), nn.Dropout(dropout))
                for before, after in pairwise(widths)
            )
        )

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        embedded = self.categories(x["categorical"]).flatten(1)  # [B, K * E]
        row = torch.cat([x["numeric"], x["missing"].to(embedded.dtype), embedded], dim=1)
        return Features(self.layers(row))


class FtTransformer(Encoder):
    """Each cell is a token, read by a transformer; pooled: a class token (Gorishniy et al. 2021, but GELU)."""

    kind = "tabular"

    def __init__(
        self,
        num_numeric: int,
        cardinalities: Sequence[int],
        dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.slope = nn.Parameter(torch.empty(num_numeric, dim))
        self.missing = nn.Parameter(torch.empty(num_numeric, dim))  # what a missing number adds
        self.column = nn.Parameter(torch.empty(num_numeric + len(cardinalities), dim))
        self.summary = nn.Parameter(torch.empty(dim))  # the class token
        for parameter in (self.slope, self.missing, self.column, self.summary):
            nn.init.uniform_(parameter, -(dim**-0.5), dim**-0.5)
        self.categories = Categories(cardinalities, dim)
        self.blocks = Blocks(dim, num_layers, num_heads, mlp_ratio, dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        numeric = x["numeric"].unsqueeze(-1) * self.slope + x["missing"].unsqueeze(-1) * self.missing
        cells = torch.cat([numeric, self.categories(x["categorical"])], dim=1) + self.column  # [B, F + K, D]
        read = self.blocks(torch.cat([self.summary.expand(cells.shape[0], 1, -1), cells], dim=1))
        return Features(read[:, 0], read[:, 1:])
