"""Multiplicative fusions: each multiplies the modalities with each other, and so sees interactions.

They read pooled features.
"""

import functools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import build_projections, mask_pooled, project_pooled
from mmrun.types import Features, Fusion
from mmrun.values import ShareBelow1, Width

MAX_PRODUCT = 2**16  # elements of a row's outer product; its linear layer has dim times as many weights


def _project_bounded(project: nn.ModuleDict, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
    """Return tanh(W_m x_m + b_m), zero where missing, [B, M, width]: products of many stay within -1..1."""
    vectors, mask = project_pooled(project, features, present)
    return torch.where(mask[..., None], torch.tanh(vectors), 0.0)


def _flat_outer(left: Tensor, right: Tensor) -> Tensor:  # [B, P], [B, Q] -> [B, P * Q]
    return (left[:, :, None] * right[:, None, :]).flatten(1)


class TensorFusion(Fusion):
    """Tensor fusion network (Zadeh, Chen, Poria, Cambria & Morency, 2017).

    A linear layer on the outer product of all [1, z_m], z_m = tanh(W_m x_m + b_m). A missing modality is [1, 0, ...].

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the fused vector.
        width: of each z_m; the outer product has (1 + width) ** M elements.
        dropout: of the fused vector.

    Raises:
        ConfigError: the outer product has more than MAX_PRODUCT elements.
    """

    def __init__(self, dims: dict[str, int], dim: Width = 128, width: Width = 8, dropout: ShareBelow1 = 0.0) -> None:
        super().__init__()
        size = (1 + width) ** len(dims)
        if size > MAX_PRODUCT:
            max_width = int(MAX_PRODUCT ** (1 / len(dims)) + 1e-9) - 1
            raise ConfigError(
                f"fusion.width: {width} over {len(dims)} modalities makes an outer product of {size} elements per row, "
                f"more than {MAX_PRODUCT}; lower fusion.width to {max_width}, or choose fusion=low_rank"
            )
        self.dim = dim
        self.project = build_projections(dims, width)
        self.linear = nn.Linear(size, dim)
        self.dropout = nn.Dropout(dropout)

    def compute_product(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Compute the flattened outer product.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            [B, (1 + width) ** M]; the index of the last modality varies fastest.
        """
        vectors = F.pad(_project_bounded(self.project, features, present), (1, 0), value=1.0)
        return functools.reduce(_flat_outer, vectors.unbind(1))

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        fused: Tensor = self.dropout(self.linear(self.compute_product(features, present)))
        return fused


class LowRank(Fusion):
    """Low-rank multimodal fusion (Liu, Shen, Lakshminarasimhan, Liang, Zadeh & Morency, 2018).

    `TensorFusion` whose weight is a sum of `rank` products of one factor per modality, computed without the outer
    product: its cost grows linearly with the number of modalities. The bias of `factor.<modality>` stands for the
    constant 1.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the fused vector.
        width: of each z_m = tanh(W_m x_m + b_m).
        rank: R, the number of products in the sum.
        dropout: of the fused vector.
    """

    def __init__(
        self, dims: dict[str, int], dim: Width = 128, width: Width = 32, rank: Width = 8, dropout: ShareBelow1 = 0.0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.rank = rank
        self.project = build_projections(dims, width)
        factors = {name: nn.Linear(width, rank * dim) for name in dims}
        self.factor = nn.ModuleDict(factors)
        self.bias = nn.Parameter(torch.zeros(dim))
        self.dropout = nn.Dropout(dropout)
        scale = rank ** (-0.5 / len(dims))  # the sum of products starts near unit variance, for any rank and M
        for factor in factors.values():
            nn.init.normal_(factor.weight, std=scale * width**-0.5)
            nn.init.normal_(factor.bias, std=scale)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        vectors = _project_bounded(self.project, features, present).unbind(1)
        terms = [factor(vector) for factor, vector in zip(self.factor.values(), vectors, strict=True)]
        product = functools.reduce(torch.mul, terms).unflatten(1, (self.rank, self.dim))  # [B, R, D]
        fused: Tensor = self.dropout(product.sum(1) + self.bias)
        return fused


class Bilinear(Fusion):
    """Bilinear pooling: the elementwise product of all modalities, projected to expansion * D, then reduced to D.

    method=mlb (Kim, On, Lim, Kim, Ha & Zhang, 2017): tanh before the product, a linear layer after it.
    method=mfb (Yu, Yu, Fan & Tao, 2017): after the product, sums of `expansion` neighbours, a signed square root and L2
    normalisation; here to a norm of sqrt(D), so that the head sees numbers near one. A missing modality is a factor of
    ones.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of the fused vector.
        method: mfb or mlb.
        expansion: the product is expansion * D wide.
        dropout: of the product.

    Raises:
        ConfigError: `method` is neither.
    """

    def __init__(
        self,
        dims: dict[str, int],
        dim: Width = 128,
        method: Literal["mlb", "mfb"] = "mfb",
        expansion: Width = 4,
        dropout: ShareBelow1 = 0.0,
    ) -> None:
        super().__init__()
        if method not in ("mlb", "mfb"):
            raise ConfigError(f"fusion.method: '{method}' is neither mlb nor mfb")
        self.dim = dim
        self.project = build_projections(dims, expansion * dim)
        self.reduce = nn.Linear(expansion * dim, dim) if method == "mlb" else None
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
        if self.reduce is not None:
            vectors = torch.tanh(vectors)
        vectors = torch.where(mask[..., None], vectors, 1.0)
        product = self.dropout(functools.reduce(torch.mul, vectors.unbind(1)))  # [B, expansion * D]
        if self.reduce is not None:
            fused: Tensor = self.reduce(product)
            return fused
        total = product.unflatten(1, (self.dim, -1)).sum(2)  # [B, D]
        root = total / (total.abs() + 1e-6).sqrt()  # sign * sqrt|.|, with a finite slope at zero
        scale: float = self.dim**0.5
        return F.normalize(root, dim=1) * scale


class Multiplicative(Fusion):
    """Multiplicative interactions (Jayakumar et al., 2020).

    The vector h of the first modality meets the others in turn: h <- matrix(z) h + shift(z), both affine in the other
    modality's z, which is the paper's z'Wh + Vh + Uz + b. All vectors are tanh(W_m x_m + b_m). A missing modality
    leaves h unchanged; where the first is missing, h starts from zero.

    Args:
        dims: D_m, the width of each modality's features.
        dim: D, the width of h and of the fused vector.
        width: of z, the vectors of all modalities but the first.
        dropout: of the fused vector.
    """

    def __init__(self, dims: dict[str, int], dim: Width = 128, width: Width = 16, dropout: ShareBelow1 = 0.0) -> None:
        super().__init__()
        first, *others = dims
        self.dim = dim
        widths = {name: dim if name == first else width for name in dims}
        self.project = nn.ModuleDict({name: nn.Linear(dims[name], widths[name]) for name in dims})
        matrices = {name: nn.Linear(width, dim * dim) for name in others}
        self.matrix = nn.ModuleDict(matrices)
        self.shift = build_projections(dict.fromkeys(others, width), dim)
        self.dropout = nn.Dropout(dropout)
        for matrix in matrices.values():  # each step starts near h <- h
            nn.init.normal_(matrix.weight, std=(width * dim) ** -0.5)
            with torch.no_grad():
                matrix.bias.copy_(torch.eye(dim).flatten())

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        vectors = []
        for name, linear in self.project.items():
            vectors.append(torch.tanh(linear(mask_pooled(features[name], present[name]))))
        first = next(iter(self.project))
        h = torch.where(present[first][:, None], vectors[0], 0.0)
        for name, z in zip(self.matrix, vectors[1:], strict=True):
            matrix = self.matrix[name](z).unflatten(1, (self.dim, self.dim))
            updated = torch.einsum("boi,bi->bo", matrix, h) + self.shift[name](z)
            h = torch.where(present[name][:, None], updated, h)
        fused: Tensor = self.dropout(h)
        return fused
