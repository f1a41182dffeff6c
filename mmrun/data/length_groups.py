"""Batches of texts of similar length, so that a batch is no wider than its longest text."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mmrun.data.store import MappedColumn, PreprocessedColumn

WINDOW = 50  # batches within which rows are sorted: more would save little padding, and make batches less random
MULTIPLE = 8  # tokens that a width is rounded up to, for few distinct shapes and for tensor cores


def count_tokens(columns: Iterable[PreprocessedColumn]) -> np.ndarray | None:
    """Count the tokens of each row, summed over all texts.

    Args:
        columns: of all modalities. Texts that are decoded anew for each batch are not counted, nor are stored features
            of texts.

    Returns:
        [N], 0 where all texts are missing; None if there is no text to count.
    """
    counts = []
    for column in columns:
        if isinstance(column, MappedColumn) and _is_text(column.parts):
            counts.append(column.parts["mask"].numpy().sum(axis=1, dtype=np.int32))
    return np.stack(counts).sum(axis=0) if counts else None


def bucket_by_length(
    order: np.ndarray, lengths: np.ndarray, start: int, batch_size: int, rng: np.random.Generator
) -> np.ndarray:
    """Reorder the rows of an epoch so that batches hold texts of similar length.

    Rows are sorted within windows of batches; then the batches of a window, and the rows of a batch, are shuffled.

    Args:
        order: row numbers in random order [n].
        lengths: of their texts [n].
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
    """Crop the padding that all texts of a batch share.

    Args:
        parts: [B, T] by name. Only texts, "ids" and "mask", are cropped.

    Returns:
        [B, width], the width rounded up to a multiple of 8.
    """
    if not _is_text(parts):
        return parts
    longest = max(1, int(parts["mask"].sum(1).max()))  # padding is at the end
    return {name: _crop(part, -(-longest // MULTIPLE) * MULTIPLE) for name, part in parts.items()}


def _is_text(parts: dict[str, Tensor]) -> bool:
    return "ids" in parts


def _crop(part: Tensor, width: int) -> Tensor:  # [B, T] -> [B, width]
    """Copy the first tokens; page-locked memory stays page-locked, so that a copy to the GPU remains asynchronous."""
    cropped = part[:, :width]
    return torch.empty(cropped.shape, dtype=part.dtype, pin_memory=part.is_pinned()).copy_(cropped)
