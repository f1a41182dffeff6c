"""Integrated gradients (Sundararajan et al., 2017) along a path, with Gauss-Legendre quadrature."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmrun.deploy.explain.paths import Path, Points
from mmrun.types import Features

STEPS = (16, 64, 256)  # points of the path, tried in turn until the attributions are complete
TOLERANCE = 0.02  # gap that is complete enough, relative to the change of the score
NEGLIGIBLE = 2e-3  # gap that is complete enough, relative to a large change
CHUNK_SIZE = 16  # points that pass through the encoder at once

Score = Callable[[Features], Tensor]  # features of P points -> the explained score [P]


class Attribution(NamedTuple):
    """What each part of a modality adds to the score.

    Attributes:
        values: of the parts that a reader sees.
        baseline_score: score of the baseline.
        gap: sum of the values, less the change of the score from the baseline to the row: 0 where complete.
    """

    values: np.ndarray
    baseline_score: float
    gap: float


def integrate_gradients(path: Path, score: Score, scale: float = 1.0) -> Attribution | None:
    """Integrate the gradients of the score along a path.

    The attributions add up to the change of the score. Where 16 points leave a gap, up to 256 are taken.

    Args:
        path: of one modality in one row.
        score: the explained score; the other modalities of the row are as they are.
        scale: a large change of the score.

    Returns:
        None where no gradient reaches the path.
    """
    with torch.no_grad():
        first, last = score(path.encode(path.start)).item(), score(path.encode(path.end)).item()
    change = last - first
    for num_points in STEPS:
        sums = _sum_gradients(path, score, num_points)
        if sums is None:
            return None
        values = path.reduce(sums).double().cpu().numpy()
        gap = float(values.sum()) - change
        if abs(gap) <= max(TOLERANCE * abs(change), NEGLIGIBLE * scale):
            break
    return Attribution(values, first, gap)


def _sum_gradients(path: Path, score: Score, num_points: int) -> Points | None:
    """Return the attribution of every value of the path [1, ...]; None where no gradient reaches it."""
    nodes, weights = np.polynomial.legendre.leggauss(num_points)
    shares, weights = (nodes + 1) / 2, weights / 2  # from -1..1 to 0..1
    sums = {name: torch.zeros_like(part) for name, part in path.end.items()}
    for begin in range(0, num_points, CHUNK_SIZE):
        points: Points = {}
        for name, end in path.end.items():
            share = _to_column(shares[begin : begin + CHUNK_SIZE], end)
            points[name] = (path.start[name] + share * (end - path.start[name])).requires_grad_()
        with torch.enable_grad():
            scores = score(path.encode(points))
            if not scores.requires_grad:
                return None
            gradients = torch.autograd.grad(scores.sum(), list(points.values()), allow_unused=True)
        if all(gradient is None for gradient in gradients):
            return None
        for (name, end), gradient in zip(path.end.items(), gradients, strict=True):
            if gradient is not None:
                weight = _to_column(weights[begin : begin + CHUNK_SIZE], end)
                sums[name] += (weight * gradient).sum(0, keepdim=True)
    return {name: total * (path.end[name] - path.start[name]) for name, total in sums.items()}


def _to_column(numbers: np.ndarray, like: Tensor) -> Tensor:
    """Return numbers [P] in the shape [P, 1, ...]."""
    return torch.as_tensor(numbers, dtype=like.dtype, device=like.device).view(-1, *[1] * (like.ndim - 1))
