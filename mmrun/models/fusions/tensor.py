"""Fusions that multiply the modalities with each other: every one sees interactions, not only sums."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import pooled, project_pooled, projections
from mmrun.types import Features, Fusion

MAX_PRODUCT = 2**16  # numbers of an outer product for one row; its linear layer has dim times as many weights


def _bounded(
    project: nn.ModuleDict, features: dict[str, Features], present: dict[str, Tensor]
) -> Tensor:  # [B, M, width]
    """Return tanh(W_i x_i + b_i), zero where missing: products of many of them stay within -1..1."""
    vectors, mask = project_pooled(project, features, present)
    return torch.where(mask[..., None], torch.tanh(vectors), 0.0)


class TensorFusion(Fusion):
    """Tensor fusion network (Zadeh, Chen, Poria, Cambria, Morency, 2017).

    A linear layer on the outer product of all [1, z_i], z_i = tanh(W_i x_i + b_i). A missing modality is [1, 0, ...].
    """

    def __init__(self, dims: dict[str, int], dim: int = 128, width: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        size = (1 + width) ** len(dims)
        if size > MAX_PRODUCT:
            fits = int(MAX_PRODUCT ** (1 / len(dims)) + 1e-9) - 1
            raise ConfigError(
                f"fusion.width: {width} over {len(dims)} modalities makes an outer product of {size} numbers a row, "
                f"more than {MAX_PRODUCT}; lower fusion.width to {fits}, or choose fusion=low_rank"
            )
        self.dim = dim
        self.project = projections(dims, width)
        self.linear = nn.Linear(size, dim)
        self.dropout = nn.Dropout(dropout)

    def product(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, (1 + width) ** M]
        """Return the flattened outer product; the last modality's place runs fastest."""
        vectors = F.pad(_bounded(self.project, features, present), (1, 0), value=1.0)
        return functools.reduce(lambda one, other: (one[:, :, None] * other[:, None, :]).flatten(1), vectors.unbind(1))

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        return self.dropout(self.linear(self.product(features, present)))


class LowRank(Fusion):
    """Low-rank multimodal fusion (Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency, 2018).

    What `TensorFusion` computes, its weight being a sum of `rank` products of one factor a modality, and the outer
    product never made: cost grows by a sum over modalities. `factor.<modality>`.bias stands for the constant 1.
    """

    def __init__(
        self, dims: dict[str, int], dim: int = 128, width: int = 32, rank: int = 8, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.rank = rank
        self.project = projections(dims, width)
        factors = {name: nn.Linear(width, rank * dim) for name in dims}
        self.factor = nn.ModuleDict(factors)
        self.bias = nn.Parameter(torch.zeros(dim))
        self.dropout = nn.Dropout(dropout)
        scale = rank ** (-0.5 / len(dims))  # so that the sum of products starts near unit variance for any rank and M
        for factor in factors.values():
            nn.init.normal_(factor.weight, std=scale * width**-0.5)
            nn.init.normal_(factor.bias, std=scale)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        vectors = _bounded(self.project, features, present).unbind(1)
        terms = [factor(vector) for factor, vector in zip(self.factor.values(), vectors, strict=True)]
        product = functools.reduce(torch.mul, terms).unflatten(1, (self.rank, self.dim))
        return self.dropout(product.sum(1) + self.bias)


class Bilinear(Fusion):
    """Bilinear pooling: the elementwise product of all modalities, projected to expansion * dim, brought to dim.

    method=mlb (Kim, On, Lim, Kim, Ha, Zhang, 2017): tanh before the product, a linear layer after it.
    method=mfb (Yu, Yu, Fan, Tao, 2017): after it sums of `expansion` neighbours, signed square root, L2 norm; here the
    norm is sqrt(dim), so that a head sees numbers near one. A missing modality is a factor of ones.
    """

    def __init__(
        self, dims: dict[str, int], dim: int = 128, method: str = "mfb", expansion: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if method not in ("mlb", "mfb"):
            raise ConfigError(f"fusion.method: '{method}' is neither mlb nor mfb")
        self.dim = dim
        self.project = projections(dims, expansion * dim)
        self.reduce = nn.Linear(expansion * dim, dim) if method == "mlb" else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        vectors, mask = project_pooled(self.project, features, present)
        if self.reduce is not None:
            vectors = torch.tanh(vectors)
        vectors = torch.where(mask[..., None], vectors, 1.0)
        product = self.dropout(functools.reduce(torch.mul, vectors.unbind(1)))  # [B, expansion * dim]
        if self.reduce is not None:
            return self.reduce(product)
        total = product.unflatten(1, (self.dim, -1)).sum(2)
        root = total / (total.abs() + 1e-6).sqrt()  # sign * sqrt|.|, with a finite slope at zero
        return F.normalize(root, dim=1) * self.dim**0.5


class Multiplicative(Fusion):
    """Multiplicative interactions (Jayakumar, Czarnecki, Menick, Schwarz, Rae, Osindero, Teh, Harley, Pascanu, 2020).

    The first modality's vector h meets the others in turn: h <- matrix(z) h + shift(z), both affine in the other's z,
    which is the paper's z'Wh + Vh + Uz + b. Every vector is tanh(W_i x_i + b_i) first. A missing modality leaves h as
    it is; where the first is missing, h starts from zero.
    """

    def __init__(self, dims: dict[str, int], dim: int = 128, width: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        first, *others = dims
        self.dim = dim
        widths = {name: dim if name == first else width for name in dims}
        self.project = nn.ModuleDict({name: nn.Linear(dims[name], widths[name]) for name in dims})
        matrices = {name: nn.Linear(width, dim * dim) for name in others}
        self.matrix = nn.ModuleDict(matrices)
        self.shift = projections(dict.fromkeys(others, width), dim)
        self.dropout = nn.Dropout(dropout)
        for matrix in matrices.values():  # each step starts near h <- h
            nn.init.normal_(matrix.weight, std=(width * dim) ** -0.5)
            with torch.no_grad():
                matrix.bias.copy_(torch.eye(dim).flatten())

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, dim]
        """Fuse."""
        vectors = [torch.tanh(linear(pooled(features[name], present[name]))) for name, linear in self.project.items()]
        fused = torch.where(present[next(iter(self.project))][:, None], vectors[0], 0.0)
        for name, vector in zip(self.matrix, vectors[1:], strict=True):
            matrix = self.matrix[name](vector).unflatten(1, (self.dim, self.dim))
            met = torch.einsum("boi,bi->bo", matrix, fused) + self.shift[name](vector)
            fused = torch.where(present[name][:, None], met, fused)
        return self.dropout(fused)
