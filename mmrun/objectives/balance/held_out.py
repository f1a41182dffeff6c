"""Rows that a balance holds out of training: their targets are hidden, and kept beside the visible ones."""

from collections.abc import Iterable

from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.objectives.losses import hide_targets
from mmrun.types import Batch, Objective

HELD_OUT = "held out "  # before the name of a task: its targets that are hidden in training


def hide_held_out(batch: Batch, is_held_out: Tensor) -> Batch:
    """Hide the targets of held-out rows, and keep them under other names.

    Args:
        batch: is not changed itself.
        is_held_out: by row of the data set, [N] bool.
    """
    rows, targets = is_held_out[batch.index], {}
    for name, target in batch.targets.items():
        targets[name] = hide_targets(target, ~rows)
        targets[HELD_OUT + name] = hide_targets(target, rows)
    return batch._replace(targets=targets)


def select_held_out(batch: Batch, tasks: Iterable[str]) -> Batch:
    """Return a batch in which the targets of held-out rows alone are visible.

    Args:
        batch: that `hide_held_out` returned.
        tasks: by name.
    """
    weights = batch.weights
    if weights is not None:
        weights = {**weights, **{name: weights[HELD_OUT + name] for name in tasks}}
    return batch._replace(targets={name: batch.targets[HELD_OUT + name] for name in tasks}, weights=weights)


def check_needs_targets(balance: str, objective: Objective) -> None:
    """Reject an objective that learns from rows without targets, and so from those that are held out.

    Args:
        balance: its name, for the message.
        objective: that it wraps.

    Raises:
        ConfigError: the objective learns from rows without targets.
    """
    if not objective.needs_targets:
        raise ConfigError(
            f"balance: {balance} hides the targets of held-out rows, and {type(objective).__name__} learns from rows "
            "without targets too; choose another balance, or objective task, multi_loss, mixup, cutmix, "
            "modality_dropout, modality_shuffle, fgm, fgsm or pgd"
        )
