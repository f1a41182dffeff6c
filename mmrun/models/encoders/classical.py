"""Linear projections fitted to the training rows without gradients: principal and independent components.

They have no parameters: what `fit` computes is stored in buffers.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmrun.errors import ConfigError
from mmrun.models.encoders.logmel import LogMel, MelScale, Normalization
from mmrun.models.encoders.tabular import compute_offsets
from mmrun.types import Encoder, Features, Input
from mmrun.values import Width

Method = Literal["pca", "ica"]  # principal or independent components

PCA_BLOCK_ROWS = 512  # rows per update of the incremental PCA
ICA_MAX_ROWS = 2000  # rows that ICA is fitted to
MIN_RELATIVE_DEVIATION = 1e-4  # of a component to the strongest; below it, a direction counts as constant


class Projection(Encoder):
    """Base of the encoders that project a row onto its `dim` strongest components. They have no tokens.

    Components have variance 1 on the training rows, and are zero before `fit`. method="pca": principal components
    (Pearson, 1901), computed block by block (Ross et al., 2008); a component without variance stays 0. method="ica":
    independent components (FastICA: Hyvärinen & Oja, 2000) of at most 2,000 training rows, sampled with a fixed seed.

    Args:
        num_values: V, the length of a row as a vector.
        method: pca or ica.
        dim: D, the number of components.

    Raises:
        ConfigError: `method` is neither, or `dim` exceeds `num_values`.
    """

    mean: Tensor
    weight: Tensor

    def __init__(self, num_values: int, method: Method, dim: int) -> None:
        super().__init__()
        if method not in ("pca", "ica"):
            raise ConfigError(f"method={method!r}: choose pca or ica")
        if dim > num_values:
            raise ConfigError(f"dim={dim}: a row has {num_values} values, which allow at most as many components")
        self.method, self.dim = method, dim
        self.register_buffer("mean", torch.zeros(num_values))
        self.register_buffer("weight", torch.zeros(dim, num_values))

    @abstractmethod
    def flatten(self, x: Any) -> Tensor:
        """Convert each row to one vector.

        Args:
            x: input of the encoder's kind.

        Returns:
            [B, V].
        """

    def fit(self, batches: Iterable[Input]) -> None:
        """Compute mean and components; how the rows are cut into batches does not matter.

        Args:
            batches: inputs of the training rows that have the modality.

        Raises:
            ConfigError: the rows are too few, or vary in too few directions, for `dim` components.
        """
        rows = (self.flatten(batch).cpu().numpy() for batch in batches)
        fit_components = _fit_pca if self.method == "pca" else _fit_ica
        mean, weight = fit_components(rows, self.dim)
        self.mean.copy_(torch.from_numpy(mean))
        self.weight.copy_(torch.from_numpy(weight))

    def forward(self, x: Input) -> Features:
        """Project.

        Args:
            x: input of the encoder's kind.

        Returns:
            Pooled [B, D], no tokens.
        """
        values = self.flatten(x).float()
        with torch.autocast(values.device.type, enabled=False):  # weak components are small differences, scaled up
            return Features(F.linear(values - self.mean, self.weight))


class Pixels(Projection):
    """Components of an image's pixels.

    Args:
        in_channels: C.
        image_size: H = W, in pixels.
        method: pca or ica.
        dim: D.
    """

    kind = "image"

    def __init__(self, in_channels: int, image_size: int, method: Method, dim: Width = 64) -> None:
        super().__init__(in_channels * image_size**2, method, dim)

    def flatten(self, x: Tensor) -> Tensor:
        """Flatten channels and pixels.

        Args:
            x: images [B, C, H, W].

        Returns:
            [B, C * H * W].
        """
        return x.flatten(1)


class Spectrum(Projection):
    """Components of a log-mel spectrogram; those of the waveform would change with each shift by a sample.

    Args:
        sample_rate: in Hz.
        num_samples: S.
        method: pca or ica.
        dim: D.
        n_mels: bands.
        n_fft: window, in samples.
        hop_length: from one window to the next, in samples.
        mel_scale: slaney or htk.
        normalize: fixed or clip; see `logmel.LogMel`.
    """

    kind = "audio"

    def __init__(
        self,
        sample_rate: int,
        num_samples: int,
        method: Method,
        dim: Width = 64,
        n_mels: Width = 64,
        n_fft: Width = 256,
        hop_length: Width = 128,
        mel_scale: MelScale = "slaney",
        normalize: Normalization = "fixed",
    ) -> None:
        super().__init__(n_mels * (1 + num_samples // hop_length), method, dim)
        self.logmel = LogMel(sample_rate, n_mels, n_fft, hop_length, mel_scale, normalize)

    def flatten(self, x: dict[str, Tensor]) -> Tensor:
        """Compute the spectrogram and flatten it.

        Args:
            x: waveform [B, S].

        Returns:
            [B, n_mels * frames].
        """
        spectrogram: Tensor = self.logmel(x["waveform"])
        return spectrogram.flatten(1)


class Row(Projection):
    """Components of a table row: its numbers, their missing flags, and its categories, one-hot.

    Args:
        num_numeric: F.
        cardinalities: categories of each of the K categorical columns.
        method: pca or ica.
        dim: D.
    """

    kind = "tabular"
    first: Tensor

    def __init__(self, num_numeric: int, cardinalities: Sequence[int], method: Method, dim: Width = 8) -> None:
        super().__init__(2 * num_numeric + sum(cardinalities), method, dim)
        self.num_categories = sum(cardinalities)
        self.register_buffer("first", compute_offsets(cardinalities), persistent=False)  # [K]

    def flatten(self, x: dict[str, Tensor]) -> Tensor:
        """Concatenate numbers, missing flags and one-hot categories.

        Args:
            x: numeric [B, F], missing [B, F] and categorical [B, K].

        Returns:
            [B, 2 * F + sum of cardinalities].
        """
        zeros = x["numeric"].new_zeros(x["numeric"].shape[0], self.num_categories)
        categories = zeros.scatter(1, x["categorical"] + self.first, 1.0)
        return torch.cat([x["numeric"], x["missing"].to(categories.dtype), categories], dim=1)


class Steps(Projection):
    """Components of a whole series.

    Args:
        in_channels: C.
        num_steps: the longest series, in steps.
        method: pca or ica.
        dim: D.
    """

    kind = "series"

    def __init__(self, in_channels: int, num_steps: int, method: Method, dim: Width = 16) -> None:
        super().__init__(in_channels * num_steps, method, dim)
        self.num_steps = num_steps

    def flatten(self, x: dict[str, Tensor]) -> Tensor:
        """Pad with zeros, the mean of a standardised series, and flatten.

        Args:
            x: values [B, C, T] and mask [B, T], T at most `num_steps`.

        Returns:
            [B, C * num_steps].
        """
        values = x["values"] * x["mask"].unsqueeze(1)
        return F.pad(values, (0, self.num_steps - values.shape[2])).flatten(1)


def _fit_pca(batches: Iterable[np.ndarray], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [V], and the principal components scaled to give variance 1 [D, V]."""
    from sklearn.decomposition import IncrementalPCA

    blocks = _rebatch(batches, max(PCA_BLOCK_ROWS, dim))
    first = next(blocks, ())
    if len(first) < dim:
        raise ConfigError(f"dim={dim}: {len(first)} training rows allow at most as many principal components")
    pca = IncrementalPCA(dim).partial_fit(first)
    for block in blocks:
        pca.partial_fit(block)
    deviation = np.sqrt(pca.explained_variance_)[:, None]  # [D, 1]
    varies = deviation > MIN_RELATIVE_DEVIATION * deviation[0]
    return pca.mean_, np.divide(pca.components_, deviation, out=np.zeros_like(pca.components_), where=varies)


def _fit_ica(batches: Iterable[np.ndarray], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [V], and the unmixing matrix scaled to give variance 1 [D, V]."""
    from sklearn.decomposition import FastICA

    rows = _sample_rows(batches, ICA_MAX_ROWS)
    rank = np.linalg.matrix_rank(rows - rows.mean(axis=0), rtol=MIN_RELATIVE_DEVIATION) if len(rows) else 0
    if rank < dim:
        raise ConfigError(
            f"dim={dim}: the training rows vary in {rank} directions, "
            "which allow at most as many independent components"
        )
    ica = FastICA(dim, whiten="unit-variance", random_state=0).fit(rows)
    return ica.mean_, ica.components_


def _rebatch(batches: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Cut the rows into blocks of one size; the last one may be smaller."""
    pending: list[np.ndarray] = []
    for batch in batches:
        pending.append(batch)
        while sum(map(len, pending)) >= size:
            rows = np.concatenate(pending)
            yield rows[:size]
            pending = [rows[size:]]
    if sum(map(len, pending)):
        yield np.concatenate(pending)


def _sample_rows(batches: Iterable[np.ndarray], max_rows: int) -> np.ndarray:
    """Draw rows with equal probability, in order, never holding more than `max_rows` and a batch."""
    generator = np.random.default_rng(0)
    sample: list[np.ndarray] = []
    keys = np.empty(0)  # a random number per sampled row; the rows with the smallest ones stay
    for batch in batches:
        sample, keys = [*sample, *batch], np.append(keys, generator.random(len(batch)))
        stay = np.sort(keys.argsort()[:max_rows])
        sample, keys = [sample[i] for i in stay], keys[stay]
    return np.array(sample)
