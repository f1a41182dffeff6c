"""Random numbers with one value a row, drawn on the device of the rows."""

import torch
from torch import Tensor

FIXED_POINT = 2**24  # parts of 1 that running sums are rounded to


def draw_uniform(low: float, high: float, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw fp32 numbers from a uniform distribution.

    Args:
        low: lower bound.
        high: upper bound.
        shape: of the result.
        device: of the result.
    """
    return low + (high - low) * torch.rand(shape, device=device)


def draw_spans(length: Tensor, max_share: float, positions: Tensor) -> Tensor:
    """Draw a span of each row, of a length from 0 to a share of the row's, anywhere in it.

    Args:
        length: [B, 1], of each row.
        max_share: longest span, as a share of the row's length.
        positions: [T], of the steps that a row may have.

    Returns:
        [B, T] bool, True within the span.
    """
    span = (max_share * torch.rand(length.shape, device=length.device) * length).round()
    start = ((length - span + 1) * torch.rand(length.shape, device=length.device)).floor()
    return (positions >= start) & (positions < start + span)


def accumulate(x: Tensor) -> Tensor:
    """Return the running sums along the last dimension, the same bits in each run: a GPU adds floats in any order.

    Args:
        x: numbers below a million.
    """
    return (x.double() * FIXED_POINT).round().long().cumsum(-1).double().div(FIXED_POINT).float()


def sample_linearly(values: Tensor, positions: Tensor) -> Tensor:
    """Read rows at positions between their values, by linear interpolation.

    Args:
        values: [B, ..., T].
        positions: [B, ..., U], from 0 to T - 1; what lies outside reads the nearest value.

    Returns:
        [B, ..., U].
    """
    positions = positions.clamp(0, values.shape[-1] - 1)
    left = positions.floor().long()
    right = (left + 1).clamp(max=values.shape[-1] - 1)
    return torch.lerp(values.gather(-1, left), values.gather(-1, right), positions - left)
