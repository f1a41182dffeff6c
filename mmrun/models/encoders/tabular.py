"""Encoders of table rows: numbers, which may be missing, and categories. F numeric columns, K categorical ones."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import cast

import torch
from torch import Tensor, nn

from mmrun.models.encoders.sequence import Blocks
from mmrun.types import Encoder, Features, Input
from mmrun.values import Depth, MlpRatio, ShareBelow1, Width, Widths


def compute_offsets(cardinalities: Sequence[int]) -> Tensor:
    """Return the index of each column's first category when the categories of all columns are numbered in one row.

    Args:
        cardinalities: categories of each column, K of them.

    Returns:
        [K] int64.
    """
    ends = accumulate(cardinalities, initial=0)
    return torch.tensor(list(ends)[:-1], dtype=torch.int64)


class CellDropout(nn.Module):
    """Hides random cells of a batch in training, so that the vectors of unknown categories and missing numbers learn.

    Without it they would keep their random initial values where no training row lacks a cell.

    Args:
        probability: that a cell is hidden.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Hide cells; in evaluation none.

        Args:
            x: numeric [B, F], missing [B, F] and categorical [B, K].

        Returns:
            The same parts; a hidden number is missing, and a hidden category is 0.
        """
        if not self.training or self.probability == 0:
            return x
        numeric, categorical = x["numeric"], x["categorical"]
        is_hidden_number = torch.rand(numeric.shape, device=numeric.device) < self.probability
        is_hidden_category = torch.rand(categorical.shape, device=numeric.device) < self.probability
        return {
            "numeric": numeric.masked_fill(is_hidden_number, 0),
            "missing": x["missing"] | is_hidden_number,
            "categorical": categorical.masked_fill(is_hidden_category, 0),
        }


class Categories(nn.Module):
    """Embed each category of each column; index 0 of a column stands for an unknown one, and starts as the mean, 0.

    Args:
        cardinalities: categories of each column, index 0 included.
        dim: E, the width of an embedding.
        init_bound: embeddings start uniform between minus and plus this; None: normal, as standardised numbers are.
    """

    first: Tensor

    def __init__(self, cardinalities: Sequence[int], dim: int, init_bound: float | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sum(cardinalities), dim)
        if init_bound is not None:
            nn.init.uniform_(self.embedding.weight, -init_bound, init_bound)
        self.register_buffer("first", compute_offsets(cardinalities), persistent=False)  # [K]
        with torch.no_grad():
            self.embedding.weight[self.first] = 0

    def forward(self, categorical: Tensor) -> Tensor:
        """Embed.

        Args:
            categorical: [B, K] int64, each column counted from 0.

        Returns:
            [B, K, E].
        """
        if len(self.first) == 0:  # LiteRT looks nothing up in a table of no rows
            return self.embedding.weight[:0].expand(categorical.shape[0], -1, -1)
        embedded: Tensor = self.embedding(categorical + self.first)
        return embedded


class Mlp(Encoder):
    """Fully connected layers over numbers, their missing flags and embedded categories. It has no tokens.

    Args:
        num_numeric: F.
        cardinalities: categories of each categorical column.
        dims: width of each layer; the last is D.
        embedding_dim: E, of a category.
        dropout: after each layer.
        cell_dropout: see `CellDropout`.
        norm: layer norm after each layer, which removes the scale of a row's hidden vector.
        shortcut: add a linear layer from the cells to the output (wide and deep: Cheng et al., 2016), so that a linear
            relation needs no hidden layer.
    """

    kind = "tabular"

    def __init__(
        self,
        num_numeric: int,
        cardinalities: Sequence[int],
        dims: Widths = (128, 128),
        embedding_dim: Width = 8,
        dropout: ShareBelow1 = 0.1,
        cell_dropout: ShareBelow1 = 0.02,
        norm: bool = False,
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        self.cell_dropout = CellDropout(cell_dropout)
        self.dim = dims[-1]
        self.categories = Categories(cardinalities, embedding_dim)
        self.layers = nn.Sequential()
        width = 2 * num_numeric + len(cardinalities) * embedding_dim
        for before, after in pairwise([width, *dims]):
            norms = [nn.LayerNorm(after)] if norm else []
            self.layers.append(nn.Sequential(nn.Linear(before, after), *norms, nn.ReLU(), nn.Dropout(dropout)))
        self.shortcut = nn.Linear(width, self.dim) if shortcut else None

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: numeric [B, F], missing [B, F] and categorical [B, K].

        Returns:
            Pooled [B, D], no tokens.
        """
        x = self.cell_dropout(x)
        embedded = self.categories(x["categorical"]).flatten(1)  # [B, K * E]
        row = torch.cat([x["numeric"], x["missing"].to(embedded.dtype), embedded], dim=1)  # [B, 2 * F + K * E]
        hidden = self.layers(row)
        return Features(hidden if self.shortcut is None else hidden + self.shortcut(row))


class FtTransformer(Encoder):
    """FT-Transformer (Gorishniy et al., 2021) with GELU: each cell is a token, a class token is pooled.

    Numbers and categories start on one scale, uniform within 1 / sqrt(D).

    Args:
        num_numeric: F.
        cardinalities: categories of each categorical column.
        dim: D.
        num_layers: transformer blocks.
        num_heads: must divide `dim`.
        mlp_ratio: width of the MLP's hidden layer, as a multiple of `dim`.
        dropout: see `sequence.Blocks`.
        cell_dropout: see `CellDropout`.

    Raises:
        ConfigError: `num_heads` does not divide `dim`.
    """

    kind = "tabular"

    def __init__(
        self,
        num_numeric: int,
        cardinalities: Sequence[int],
        dim: Width = 64,
        num_layers: Depth = 2,
        num_heads: Width = 4,
        mlp_ratio: MlpRatio = 2.0,
        dropout: ShareBelow1 = 0.1,
        cell_dropout: ShareBelow1 = 0.02,
    ) -> None:
        super().__init__()
        self.cell_dropout = CellDropout(cell_dropout)
        self.dim = dim
        self.slope = nn.Parameter(torch.empty(num_numeric, dim))
        self.missing = nn.Parameter(torch.empty(num_numeric, dim))  # added where a number is missing
        self.column = nn.Parameter(torch.empty(num_numeric + len(cardinalities), dim))
        self.summary = nn.Parameter(torch.empty(dim))  # the class token
        for parameter in (self.slope, self.missing, self.column, self.summary):
            nn.init.uniform_(parameter, -(dim**-0.5), dim**-0.5)
        self.categories = Categories(cardinalities, dim, init_bound=dim**-0.5)
        self.blocks = Blocks(dim, num_layers, num_heads, mlp_ratio, dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: numeric [B, F], missing [B, F] and categorical [B, K].

        Returns:
            Pooled [B, D] and one token per cell [B, F + K, D].
        """
        tokens = self.blocks(self._embed(x))
        return Features(tokens[:, 0], tokens[:, 1:])

    def encode_layers(self, x: Input) -> list[Tensor]:
        """Return the tokens of the cells after each block; see `Encoder.encode_layers`."""
        return [tokens[:, 1:] for tokens in self.blocks.forward_layers(self._embed(cast(dict[str, Tensor], x)))]

    def _embed(self, x: dict[str, Tensor]) -> Tensor:
        """Embed the class token and each cell, [B, 1 + F + K, D]."""
        x = self.cell_dropout(x)
        numeric = x["numeric"].unsqueeze(-1) * self.slope + x["missing"].unsqueeze(-1) * self.missing
        cells = torch.cat([numeric, self.categories(x["categorical"])], dim=1) + self.column  # [B, F + K, D]
        return torch.cat([self.summary.expand(cells.shape[0], 1, -1), cells], dim=1)
