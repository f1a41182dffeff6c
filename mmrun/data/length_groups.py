"""Texts of like length together, so that a batch is no wider than its longest text."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mmrun.data.store import MappedColumn, PreprocessedColumn

WINDOW = 50  # batches among which rows are sorted: longer ones gain little more, and order rows less by chance
MULTIPLE = 8  # tokens that a width is rounded up to: few shapes, and ones that suit tensor cores


def lengths(columns: Iterable[PreprocessedColumn]) -> np.ndarray | None:  # [N]
    """Count the tokens of every row, over all texts; None where no text is at hand. A missing one has none.

    Texts that are decoded anew for each batch are not read for this, and features of texts are none.
    """
    mapped = [column.parts for column in columns if isinstance(column, MappedColumn)]
    counts = [parts["mask"].numpy().sum(axis=1, dtype=np.int32) for parts in mapped if _is_text(parts)]
    return np.stack(counts).sum(axis=0) if counts else None


def bucketed(
    order: np.ndarray, lengths: np.ndarray, start: int, batch_size: int, draw: np.random.Generator
) -> np.ndarray:  # [n], [n] -> [n]
    """Bring an epoch's rows into batches of like length: sorted within a window, then its batches and each shuffled.

    `lengths` are those of `order`, `start` is the place of its first row in the stream, which is cut into batches from
    its own beginning: rows that share one with the epoch before or after stay where chance put them.
    """
    before = min(-start % batch_size, len(order))
    number = (len(order) - before) // batch_size
    after = before + number * batch_size
    batches = np.arange(before, after).reshape(number, batch_size)  # places in `order`
    for window in np.array_split(batches, max(1, -(-number // WINDOW))):  # views
        places = window.ravel()
        by_length = places[lengths[places].argsort(kind="stable")].reshape(window.shape)
        window[:] = draw.permutation(draw.permuted(by_length, axis=1))
    return np.concatenate([order[:before], order[batches.ravel()], order[after:]])


def cropped(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut what is padding in every row of a batch off its text; other kinds stay as they are."""
    if not _is_text(parts):
        return parts
    longest = max(1, int(parts["mask"].sum(1).max()))  # padding stands at the end
    return {name: _cut(part, -(-longest // MULTIPLE) * MULTIPLE) for name, part in parts.items()}


def _is_text(parts: dict[str, Tensor]) -> bool:
    return "ids" in parts


def _cut(part: Tensor, width: int) -> Tensor:  # [B, T] -> [B, width]
    """Copy the first tokens; page-locked where they were, so that a GPU need not be waited for."""
    kept = part[:, :width]
    return torch.empty(kept.shape, dtype=part.dtype, pin_memory=part.is_pinned()).copy_(kept)
