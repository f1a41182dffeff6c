"""The batches of several runs of one data set, stacked."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from mmrun.data.loader import Loader
from mmrun.types import Batch


class StackedBatches:
    """The training batches of several runs: at each step, each has the rows that it reads when it trains alone.

    Where the runs read the same columns, all rows are gathered at once, as wide as the longest row of all; elsewhere
    texts are not cropped.

    Args:
        loaders: of the runs, with batches of one size.
    """

    def __init__(self, loaders: Sequence[Loader]) -> None:
        self.loaders = list(loaders)
        first = self.loaders[0]
        self.is_shared = all(_read_the_same(first, loader) for loader in self.loaders[1:])

    def load(self, numbers: Sequence[int], step: int) -> Batch:
        """Return the batches of some runs.

        Args:
            numbers: of the runs, S of them.
            step: optimizer step, from 0.

        Returns:
            [S, B, ...].
        """
        loaders = [self.loaders[number] for number in numbers]
        rows = [loader.sampler.sample_batch(step) for loader in loaders]
        if self.is_shared:
            batch = loaders[0].build_batch(np.concatenate(rows), widths=loaders[0].build_batch.longest_widths)
            return map_tensors(lambda tensor: tensor.unflatten(0, (len(loaders), -1)), batch)
        batches = [loader.build_batch(run_rows, widths={}) for loader, run_rows in zip(loaders, rows, strict=True)]
        return map_tensors(lambda *tensors: torch.stack(tensors), *batches)


def _read_the_same(first: Loader, other: Loader) -> bool:
    """Return whether two runs read the same columns and see the same targets."""
    same_columns = all(first.columns[name] is column for name, column in other.columns.items())
    return same_columns and all(_same_memory(first.targets[name], values) for name, values in other.targets.items())


def _same_memory(first: Tensor, other: Tensor) -> bool:
    return first.data_ptr() == other.data_ptr()


def map_tensors(function: Callable[..., Tensor], *batches: Batch) -> Batch:
    """Apply a function to the tensors that stand at the same place in some batches.

    Args:
        function: of as many tensors as there are batches.
        batches: without weights.
    """
    return Batch(*(tree_map(function, *parts) for parts in zip(*(batch[:4] for batch in batches), strict=True)))


def select_member(batch: Batch, number: int) -> Batch:
    """Return the batch of one member.

    Args:
        batch: [S, B, ...].
        number: of the member, from 0.
    """
    return map_tensors(lambda tensor: tensor[number], batch)
