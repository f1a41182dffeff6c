"""Who makes batches: the caller when it asks, or a thread before it asks."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from mmrun.types import Batch

BuildBatch = Callable[..., Batch]  # of rows, and how


class SyncBatcher:
    """Makes a batch when it is taken: best where gathering rows takes the cores that training needs."""

    def __init__(self, build_batch: BuildBatch) -> None:
        self.build_batch = build_batch

    def submit(self, *asked: Any) -> tuple[Any, ...]:
        """Note what will be asked for."""
        return asked

    def result(self, pending: tuple[Any, ...]) -> Batch:
        """Make it."""
        return self.build_batch(*pending)


Pending = Future[tuple[Batch, Any]]


class Prefetcher:
    """Makes batches in a thread: files are decoded, or rows copied to a GPU, while the device computes.

    A GPU receives them on a stream of their own; the stream that computes waits for the copy of its batch alone, and
    their memory is not used again before it is done with them.
    """

    def __init__(self, build_batch: BuildBatch, device: torch.device) -> None:
        self.build_batch, self.device = build_batch, device
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def submit(self, *asked: Any) -> Pending:
        """Start to make a batch."""
        return self.pool.submit(self._make, *asked)

    def result(self, pending: Pending) -> Batch:
        """Wait until it is made."""
        batch, copied = pending.result()
        if copied is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_event(copied)
            for tensor in tensors(batch):
                tensor.record_stream(computing)
        return batch

    def _make(self, *asked: Any) -> tuple[Batch, Any]:
        with torch.cuda.stream(self.stream):  # None: no other stream
            batch = self.build_batch(*asked)
        return batch, None if self.stream is None else self.stream.record_event()


def tensors(value: Any) -> Iterator[Tensor]:
    """Return every tensor of a batch."""
    if isinstance(value, Tensor):
        yield value
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors(item)
