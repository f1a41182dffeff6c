"""Rows of all processes, so that objectives that compare rows see the whole batch."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def gather_rows(x: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of their ranks; gradients flow back to each process's own.

    A loss of all rows, computed in every process, then has the gradients of one process with the whole batch: averaged
    over processes, as DDP does it.

    Args:
        x: this process's rows [B, ...], as many in every process.

    Returns:
        [world * B, ...]; `x` itself where there is one process.
    """
    if _count_processes() == 1:
        return x
    if x.dtype is torch.bool:
        return gather_rows(x.byte()).bool()
    return torch.cat(all_gather(x.contiguous()))


def select_own_rows(x: Tensor) -> Tensor:
    """Return this process's rows of what was computed for those of all.

    Args:
        x: [world * B, ...], in the order of `gather_rows`.
    """
    world = _count_processes()
    return x if world == 1 else x.chunk(world)[dist.get_rank()]


def _count_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
