"""Rows of many lengths: batches that are no wider than their longest row, and that hold rows of similar length."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from mmrun.data.store import LazyColumn, MappedColumn, PreprocessedColumn

WINDOW = 50  # batches within which rows are sorted: more would save little padding, and make batches less random
MULTIPLES = {"ids": 2, "values": 8, "waveform": 1600}  # of widths, for few distinct shapes; a token costs most
MIN_WIDTH = 8  # tokens, steps or samples
PADDED = (*MULTIPLES, "mask")  # parts along whose last axis rows are padded, at the end


def _measure_lengths(parts: Mapping[str, Tensor]) -> Tensor | None:
    """Return the length of each row [B], of several items the longest; None of what is not padded, and of features."""
    if "waveform" in parts:
        lengths = parts["length"]
    elif "ids" in parts or "values" in parts:
        lengths = parts["mask"].sum(-1)
    else:
        return None
    return lengths if lengths.ndim == 1 else lengths.amax(1)


def measure_columns(columns: Iterable[PreprocessedColumn]) -> np.ndarray | None:
    """Return the length of each row, as a share of the longest that is read, summed over all modalities.

    Args:
        columns: of the modalities that are cropped. Those that are decoded anew for each batch do not count.

    Returns:
        [N], 0 where all are missing; None if there is nothing to measure.
    """
    totals = []
    for column in columns:
        parts = column.parts if isinstance(column, MappedColumn) else {}
        lengths = _measure_lengths(parts)
        if lengths is not None:
            totals.append(lengths.numpy() / _get_width(parts))
    return np.sum(totals, axis=0) if totals else None


def compute_mean_width(column: PreprocessedColumn, batches: np.ndarray) -> int | None:
    """Return the mean width of some batches once they are cropped.

    Args:
        column: of one modality.
        batches: row numbers [n, B].

    Returns:
        The width, rounded; None where there is nothing to crop.
    """
    rows = torch.from_numpy(batches.ravel())
    parts = column.gather(rows[:1])
    if _measure_lengths(parts) is None:
        return None
    if isinstance(column, LazyColumn):
        parts = column.gather(rows)
    else:
        parts |= {name: column.parts[name][rows] for name in ("mask", "length") if name in column.parts}
    lengths = _measure_lengths(parts)
    assert lengths is not None
    longest = lengths.view(batches.shape).amax(1)
    return round(np.mean([_round_up(parts, length) for length in longest.tolist()]))


def bucket_by_length(
    order: np.ndarray, lengths: np.ndarray, start: int, batch_size: int, rng: np.random.Generator
) -> np.ndarray:
    """Reorder the rows of an epoch so that batches hold rows of similar length.

    Rows are sorted within windows of batches; then the batches of a window, and the rows of a batch, are shuffled.

    Args:
        order: row numbers in random order [n].
        lengths: of these rows [n].
        start: position of the first row in the stream of all epochs, which is cut into batches from its beginning: the
            rows of batches that cross the boundary of an epoch stay in place.
        batch_size: rows per batch.
        rng: of the shuffling.

    Returns:
        Row numbers [n].
    """
    before = min(-start % batch_size, len(order))
    num_batches = (len(order) - before) // batch_size
    after = before + num_batches * batch_size
    batches = np.arange(before, after).reshape(num_batches, batch_size)  # positions in `order`
    for window in np.array_split(batches, max(1, -(-num_batches // WINDOW))):  # views
        positions = window.ravel()
        by_length = positions[lengths[positions].argsort(kind="stable")].reshape(window.shape)
        window[:] = rng.permutation(rng.permuted(by_length, axis=1))
    return np.concatenate([order[:before], order[batches.ravel()], order[after:]])


def crop_padding(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Crop the padding that all rows of a batch share.

    Args:
        parts: of one modality, [B, ..., T]; others than texts, series and sounds stay as they are.

    Returns:
        [B, ..., width], the width rounded up to an even number of tokens, at least 8, or to a
            multiple of 8 steps or 1,600 samples.
    """
    lengths = _measure_lengths(parts)
    return parts if lengths is None else crop_parts(parts, _round_up(parts, int(lengths.max())))


def crop_parts(parts: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """Copy the first tokens, steps or samples of each row.

    Page-locked memory stays page-locked, so that a copy to the GPU remains asynchronous.

    Args:
        parts: of one modality, [B, ..., T].
        width: that is kept; all where it is larger than T.
    """
    cropped = dict(parts)
    for name in PADDED:
        if name in parts and width < parts[name].shape[-1]:
            part = parts[name][..., :width]
            cropped[name] = torch.empty(part.shape, dtype=part.dtype, device=part.device, pin_memory=part.is_pinned())
            cropped[name].copy_(part)
    return cropped


def _get_width(parts: Mapping[str, Tensor]) -> int:
    return next(parts[name].shape[-1] for name in MULTIPLES if name in parts)


def _round_up(parts: Mapping[str, Tensor], length: int) -> int:
    """Return the width of a batch whose longest row has a length."""
    multiple = next(MULTIPLES[name] for name in MULTIPLES if name in parts)
    return min(-(-max(MIN_WIDTH, length) // multiple) * multiple, _get_width(parts))
