"""Which targets are visible, and how much a micro-batch's mean over them counts in that of the whole batch."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmrun.types import ALL, IGNORE_INDEX, Batch


def is_visible(target: Tensor) -> Tensor:
    """Return which targets are visible, bool.

    Args:
        target: [B] or [B, C]; hidden ones are IGNORE_INDEX or NaN.
    """
    return ~target.isnan() if target.is_floating_point() else target != IGNORE_INDEX


def count_visible(targets: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    """Count the visible targets of each task in the rows of each modality.

    Args:
        targets: by task, [B] or [B, C].
        present: by modality, [B] bool; of one modality at least.

    Returns:
        [1 + T, 1 + M] float: by task, after the number of rows; and by modality, after all rows.
    """
    all_rows = torch.ones_like(next(iter(present.values())))
    rows = torch.stack([all_rows, *present.values()])  # [1 + M, B]
    visible = [is_visible(target).view(len(target), -1).sum(1) for target in targets.values()]
    numbers = torch.stack([all_rows.long(), *visible])  # [1 + T, B]
    return (numbers.unsqueeze(1) * rows).sum(2).float()


def weigh_batch(batch: Batch, total: Tensor) -> Batch:
    """Return a batch with the weights that its means have in those of a larger one; see `Batch.weights`.

    Args:
        batch: some rows of the larger one.
        total: of the larger one, from `count_visible`.
    """
    counts = count_visible(batch.targets, batch.present)
    row_share = counts[0, 0] / total[0, 0]
    table = counts / total.clamp(min=1) / row_share
    weights = {}
    for task, by_modality in zip([ALL, *batch.targets], table.unbind(), strict=True):
        weights[task] = dict(zip([ALL, *batch.present], by_modality.unbind(), strict=True))
    return batch._replace(weights=weights)
