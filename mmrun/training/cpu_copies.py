"""Tensors of many batches, copied to the CPU while the device computes the next batch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class CPUCopies:
    """Collects one value a batch: any nesting of dicts and tuples of tensors, [rows, ...].

    A GPU holds the tensors of two batches at most, and is not waited for until it has the next one to compute: a batch
    is copied into pinned memory as it comes, and from there into plain memory, of which there is more, once the
    following one has been launched.
    """

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.pending: tuple[Any, torch.cuda.Event | None] | None = None

    def append(self, value: Any) -> None:
        """Start to copy the value of a batch.

        Args:
            value: of the same structure each time.
        """
        copied = _map_tensors(lambda tensor: tensor.to("cpu", non_blocking=True), value)  # pinned, if from a GPU
        earlier, self.pending = self.pending, (copied, _record_event(value))
        self._finish(earlier)

    def concatenate(self) -> Any:
        """Return one value that holds the rows of all batches, floats in fp32."""
        self._finish(self.pending)
        self.pending = None
        batches, self.batches = self.batches, []
        return _concatenate(batches)

    def _finish(self, pending: tuple[Any, torch.cuda.Event | None] | None) -> None:
        if pending is None:
            return
        value, copied = pending
        if copied is not None:
            copied.synchronize()
            value = _map_tensors(Tensor.clone, value)
        self.batches.append(value)


def _record_event(value: Any) -> torch.cuda.Event | None:
    """Return an event after all that was launched, if the tensors are on a GPU."""
    tensor = value
    while not isinstance(tensor, Tensor):
        tensor = next(iter(tensor.values())) if isinstance(tensor, dict) else tensor[-1]
    return torch.cuda.current_stream(tensor.device).record_event() if tensor.is_cuda else None


def _map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: _map_tensors(function, item) for key, item in value.items()}
    return tuple(_map_tensors(function, item) for item in value)


def _concatenate(items: list[Any]) -> Any:
    first = items[0]
    if isinstance(first, Tensor):
        return torch.cat([item.float() if item.is_floating_point() else item for item in items])
    if isinstance(first, dict):
        return {key: _concatenate([item[key] for item in items]) for key in first}
    return tuple(_concatenate([item[i] for item in items]) for i in range(len(first)))
