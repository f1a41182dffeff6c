"""Which targets are visible, and how much a micro-batch's mean over them counts in that of the whole batch."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mmrun.types import ALL, IGNORE_INDEX, Batch


def is_visible(target: Tensor) -> Tensor:
    """Return which targets are visible, bool.

    Args:
        target: [B] or [B, C]; hidden ones are IGNORE_INDEX or NaN.
    """
    return ~target.isnan() if target.is_floating_point() else target != IGNORE_INDEX


def count_visible(batch: Batch, masks: Mapping[str, Tensor]) -> Tensor:
    """Count the visible targets of each task, and the rows of each mask, in the rows of each modality.

    Args:
        batch: targets, and what is present.
        masks: by name, [B] bool.

    Returns:
        [1 + T + K, 1 + M] float: all rows, then by task, then by mask; and all rows, then by modality.
    """
    all_rows = torch.ones_like(batch.index)
    rows = torch.stack([all_rows, *batch.present.values()])  # [1 + M, B]
    visible = [is_visible(target).view(len(target), -1).sum(1) for target in batch.targets.values()]
    numbers = torch.stack([all_rows, *visible, *masks.values()])  # [1 + T + K, B]
    return (numbers.unsqueeze(1) * rows).sum(2).float()


def weigh_batch(batch: Batch, masks: Iterable[str], counts: Tensor, total: Tensor) -> Batch:
    """Return a batch with the weights that its means have in those of a larger one; see `Batch.weights`.

    Args:
        batch: some rows of the larger one.
        masks: names of the masks.
        counts: of the rows, from `count_visible`.
        total: of the larger batch, likewise.
    """
    row_share = counts[0, 0] / total[0, 0]
    table = counts / total.clamp(min=1) / row_share
    weights = {}
    for name, by_modality in zip([ALL, *batch.targets, *masks], table.unbind(), strict=True):
        weights[name] = dict(zip([ALL, *batch.present], by_modality.unbind(), strict=True))
    return batch._replace(weights=weights)
