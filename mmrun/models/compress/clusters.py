"""Weight sharing: the weights of a layer take few values, so that a file holds a code for each and a codebook."""

import numpy as np
import torch
from torch import Tensor, nn

from mmrun.models.compress.magnitude import list_weights

MAX_ITERATIONS = 100
MIN_WEIGHTS = 4  # for each cluster; a smaller tensor would gain nothing


def share_weights(model: nn.Module, clusters: int) -> int:
    """Replace the weights of each layer by the centres of k-means clusters (Han et al., 2016).

    Weights that are zero stay zero.

    Args:
        model: changed in place.
        clusters: of each layer, 2 to 256.

    Returns:
        The number of layers whose weights are shared.
    """
    weights = {name: weight for name, weight in list_weights(model).items() if weight.numel() >= MIN_WEIGHTS * clusters}
    with torch.no_grad():
        for weight in weights.values():
            values = weight.detach().cpu().float().numpy().ravel()
            nonzero = values[values != 0]
            if len(nonzero):
                free = clusters - 1 if len(nonzero) < len(values) else clusters
                values[values != 0] = cluster(nonzero, free)
            weight.copy_(torch.from_numpy(values).view_as(weight))
    return len(weights)


def cluster(values: np.ndarray, clusters: int) -> np.ndarray:
    """Return each value's centre of k-means, which starts from centres that are evenly spaced.

    An empty cluster moves to the value that is farthest from its own.

    Args:
        values: [N] float32.
        clusters: at least 1.

    Returns:
        [N] float32, of at most so many different values.
    """
    ordered = np.sort(values)
    totals = np.concatenate([[0.0], np.cumsum(ordered, dtype=np.float64)])  # of the first 0, 1 ... N values
    centres = np.linspace(ordered[0], ordered[-1], clusters, dtype=np.float64)
    for _ in range(MAX_ITERATIONS):
        ends = np.searchsorted(ordered, _midpoints(centres), side="right")
        bounds = np.concatenate([[0], ends, [len(ordered)]])
        counts = np.diff(bounds)
        moved = np.where(counts > 0, np.diff(totals[bounds]) / np.maximum(counts, 1), centres)
        empty = np.flatnonzero(counts == 0)
        if len(empty):  # else the values in the gap that pruning leaves would be lost
            distances = np.abs(ordered - np.repeat(moved, counts))
            farthest = np.argsort(-distances, kind="stable")[: len(empty)]
            moved[empty[: len(farthest)]] = ordered[farthest]
            moved.sort()
        if np.array_equal(moved, centres):
            break
        centres = moved
    shared: np.ndarray = centres.astype(np.float32)[np.searchsorted(_midpoints(centres), values)]
    return shared


def _midpoints(centres: np.ndarray) -> np.ndarray:
    midpoints: np.ndarray = (centres[1:] + centres[:-1]) / 2
    return midpoints


def find_codes(model: nn.Module, clusters: int) -> dict[str, Tensor]:
    """Return which weights share a value, as a number for each, by name; only of tensors with so few values.

    Args:
        model: any module.
        clusters: that a tensor may have.
    """
    codes = {}
    for name, weight in list_weights(model).items():
        values, inverse = weight.detach().unique(return_inverse=True)
        if len(values) <= clusters and weight.numel() >= MIN_WEIGHTS * clusters:
            codes[name] = inverse
    return codes
