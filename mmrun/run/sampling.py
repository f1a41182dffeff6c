"""The order in which a stage reads its training rows, where it is not one shuffle after the other."""

import numpy as np

from mmrun.config import RunConfig
from mmrun.data.sampler import Mixture, Permutations, RowStream, balance_classes
from mmrun.errors import ConfigError
from mmrun.run.data import Data
from mmrun.seeding import named_seed
from mmrun.tasks.classification import Classification
from mmrun.training.stages import Stage


def order_rows(config: RunConfig, stage: Stage, data: Data) -> RowStream | None:
    """Return the order of a stage's rows; None: one permutation per epoch.

    Args:
        config: seed and trainer.
        stage: its `balanced_batches` and `labelled_share` decide.
        data: rows and their classes.

    Raises:
        ConfigError: the keys cannot be combined, or no task has classes.
    """
    keys = stage.config
    if not keys.balanced_batches and keys.labelled_share is None:
        return None
    _check(config, stage, data)
    seed = named_seed(config.seed, "order")
    rows = data.rows[keys.rows]
    if keys.labelled_share is None:
        return _order_labelled(stage, data, rows, seed)
    labelled, unlabelled = data.rows["labelled"], data.rows["unlabelled"]
    stream = _order_labelled(stage, data, labelled, seed)
    if len(unlabelled) == 0:
        return stream
    return Mixture(stream, Permutations(unlabelled, seed, "order/unlabelled"), keys.labelled_share)


def _order_labelled(stage: Stage, data: Data, rows: np.ndarray, seed: int) -> RowStream:
    """Return the order of labelled rows, balanced by the classes of the first task where that is asked for."""
    if not stage.config.balanced_batches:
        return Permutations(rows, seed, "order/labelled")
    task = next(iter(data.tasks))
    return balance_classes(rows, data.table.targets[task].values[rows], seed)


def _check(config: RunConfig, stage: Stage, data: Data) -> None:
    keys, key_path = stage.config, stage.key_path
    name = "balanced_batches" if keys.balanced_batches else "labelled_share"
    if config.trainer.group_by_length:
        raise ConfigError(f"{key_path}.{name}: cannot be combined with trainer.group_by_length; drop one of the two")
    if keys.labelled_share is not None and keys.rows != "all":
        raise ConfigError(f"{key_path}.labelled_share: needs rows=all, not {keys.rows}")
    if not keys.balanced_batches:
        return
    if keys.labelled_share is None and keys.rows not in ("labelled", "bootstrap"):
        raise ConfigError(
            f"{key_path}.balanced_batches: rows={keys.rows} has rows whose class is not known; "
            f"set {key_path}.rows=labelled, or {key_path}.labelled_share=0.5 with rows=all"
        )
    task = next(iter(data.tasks))
    if not isinstance(data.tasks[task], Classification):
        raise ConfigError(f"{key_path}.balanced_batches: the first task, {task}, has no classes; leave it out")
