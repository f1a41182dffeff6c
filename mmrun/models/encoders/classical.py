"""Projections that are computed from the training rows instead of learned by gradients: principal and independent
components. They have no parameters; what was computed lies in buffers.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmrun.errors import ConfigError
from mmrun.models.encoders.logmel import LogMel
from mmrun.types import Encoder, Features, Input

BLOCK = 512  # rows that principal components are computed from at once
MOST_ROWS = 2000  # that independent components are computed from
VARIES = 1e-4  # a direction varies whose deviation is above this share of the largest


class Projection(Encoder):
    """The `dim` strongest components of a row, each of variance 1 on the training rows; zero before `fit`. No tokens.

    method="pca": principal components (Pearson 1901), computed block by block (Ross et al. 2008); one in whose
    direction nothing varies stays 0. method="ica": independent components (FastICA, Hyvärinen & Oja 2000) of 2,000
    training rows, drawn with a fixed seed where there are more.
    """

    mean: Tensor
    weight: Tensor

    def __init__(self, num_values: int, method: str, dim: int) -> None:
        super().__init__()
        if method not in ("pca", "ica"):
            raise ConfigError(f"method={method!r}: components are found by pca or ica")
        if dim > num_values:
            raise ConfigError(f"dim={dim}: a row has {num_values} values, so at most as many components")
        self.method, self.dim = method, dim
        self.register_buffer("mean", torch.zeros(num_values))
        self.register_buffer("weight", torch.zeros(dim, num_values))

    @abstractmethod
    def values(self, x: Any) -> Tensor:  # [B, num_values]
        """Return each row as one vector."""

    def fit(self, batches: Iterable[Input]) -> None:
        """Compute the components of the given rows; how they are cut into batches does not matter."""
        rows = (self.values(batch).cpu().numpy() for batch in batches)
        mean, weight = (_principal if self.method == "pca" else _independent)(rows, self.dim)
        self.mean.copy_(torch.from_numpy(mean))
        self.weight.copy_(torch.from_numpy(weight))

    def forward(self, x: Input) -> Features:
        """Encode."""
        values = self.values(x).float()
        with torch.autocast(values.device.type, enabled=False):  # weak components are small differences, made large
            return Features(F.linear(values - self.mean, self.weight))


class Pixels(Projection):
    """Components of a picture's pixels."""

    kind = "image"

    def __init__(self, in_channels: int, image_size: int, method: str, dim: int = 64) -> None:
        super().__init__(in_channels * image_size**2, method, dim)

    def values(self, x: Tensor) -> Tensor:
        """Flatten."""
        return x.flatten(1)


class Spectrum(Projection):
    """Components of a log-mel spectrogram: those of the wave itself would change with every shift by a sample."""

    kind = "audio"

    def __init__(
        self,
        sample_rate: int,
        num_samples: int,
        method: str,
        dim: int = 64,
        n_mels: int = 64,
        n_fft: int = 256,
        hop_length: int = 128,
        mel_scale: str = "slaney",
        normalize: str = "fixed",
    ) -> None:
        super().__init__(n_mels * (1 + num_samples // hop_length), method, dim)
        self.logmel = LogMel(sample_rate, n_mels, n_fft, hop_length, mel_scale, normalize)

    def values(self, x: dict[str, Tensor]) -> Tensor:
        """Transform and flatten."""
        return self.logmel(x["waveform"]).flatten(1)


class Row(Projection):
    """Components of a table row: its numbers, which are missing, and a column of zeros and ones for each category."""

    kind = "tabular"
    first: Tensor

    def __init__(self, num_numeric: int, cardinalities: list[int], method: str, dim: int = 8) -> None:
        super().__init__(2 * num_numeric + sum(cardinalities), method, dim)
        self.num_categories = sum(cardinalities)
        starts = [sum(cardinalities[:column]) for column in range(len(cardinalities))]
        self.register_buffer("first", torch.tensor(starts, dtype=torch.int64), persistent=False)  # [K]

    def values(self, x: dict[str, Tensor]) -> Tensor:
        """Put side by side."""
        none = x["numeric"].new_zeros(x["numeric"].shape[0], self.num_categories)
        categories = none.scatter(1, x["categorical"] + self.first, 1.0)
        return torch.cat([x["numeric"], x["missing"].to(categories.dtype), categories], dim=1)


class Steps(Projection):
    """Components of a whole series."""

    kind = "series"

    def __init__(self, in_channels: int, num_steps: int, method: str, dim: int = 16) -> None:
        super().__init__(in_channels * num_steps, method, dim)
        self.num_steps = num_steps

    def values(self, x: dict[str, Tensor]) -> Tensor:
        """Flatten; padding is 0, the mean."""
        values = x["values"] * x["mask"].unsqueeze(1)
        return F.pad(values, (0, self.num_steps - values.shape[2])).flatten(1)


def _principal(batches: Iterable[np.ndarray], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [V] and what projects onto the components, scaled to variance 1 [dim, V]."""
    from sklearn.decomposition import IncrementalPCA

    blocks = _blocks(batches, max(BLOCK, dim))
    first = next(blocks, ())
    if len(first) < dim:
        raise ConfigError(f"dim={dim}: {len(first)} training rows have at most as many principal components")
    pca = IncrementalPCA(dim).partial_fit(first)
    for block in blocks:
        pca.partial_fit(block)
    deviation = np.sqrt(pca.explained_variance_)[:, None]  # [dim, 1]
    varies = deviation > VARIES * deviation[0]
    return pca.mean_, np.divide(pca.components_, deviation, out=np.zeros_like(pca.components_), where=varies)


def _independent(batches: Iterable[np.ndarray], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [V] and what unmixes the components, scaled to variance 1 [dim, V]."""
    from sklearn.decomposition import FastICA

    rows = _sample(batches, MOST_ROWS)
    rank = np.linalg.matrix_rank(rows - rows.mean(axis=0), rtol=VARIES) if len(rows) else 0
    if rank < dim:
        raise ConfigError(f"dim={dim}: the training rows vary in {rank} directions, so at most as many are independent")
    ica = FastICA(dim, whiten="unit-variance", random_state=0).fit(rows)
    return ica.mean_, ica.components_


def _blocks(batches: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Cut the rows into blocks of one size; the last has what is left."""
    waiting: list[np.ndarray] = []
    for batch in batches:
        waiting.append(batch)
        while sum(map(len, waiting)) >= size:
            rows = np.concatenate(waiting)
            yield rows[:size]
            waiting = [rows[size:]]
    if sum(map(len, waiting)):
        yield np.concatenate(waiting)


def _sample(batches: Iterable[np.ndarray], most: int) -> np.ndarray:
    """Draw rows with equal chances, holding no more than these; they keep their order."""
    draw = np.random.default_rng(0)
    kept: list[np.ndarray] = []
    lots = np.empty(0)  # a random number for each row that is kept; the lowest stay
    for batch in batches:
        kept, lots = [*kept, *batch], np.append(lots, draw.random(len(batch)))
        stay = np.sort(lots.argsort()[:most])
        kept, lots = [kept[i] for i in stay], lots[stay]
    return np.array(kept)
