"""Builds batches when they are needed, or in a thread before they are needed."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import torch
from torch import Tensor

from mmrun.types import Batch

BuildBatch = Callable[..., Batch]  # takes the arguments of `submit`


class Batcher(Protocol):
    """Builds batches, now or in the background.

    Attributes:
        ahead: how many batches to request before they are needed.
    """

    ahead: int

    def submit(self, *args: object) -> Any:
        """Request a batch.

        Args:
            args: for the function that builds it.

        Returns:
            What `result` takes.
        """
        ...

    def result(self, pending: Any) -> Batch:
        """Return a requested batch.

        Args:
            pending: that `submit` returned.
        """
        ...


class SyncBatcher:
    """Builds a batch when its result is requested: best if gathering rows takes the cores that training needs.

    Args:
        build_batch: called with the arguments of `submit`.
    """

    ahead = 0

    def __init__(self, build_batch: BuildBatch) -> None:
        self.build_batch = build_batch

    def submit(self, *args: object) -> Callable[[], Batch]:
        """Return the request for a batch."""
        return lambda: self.build_batch(*args)

    def result(self, pending: Callable[[], Batch]) -> Batch:
        """Build the batch."""
        return pending()


Pending = Future[tuple[Batch, torch.cuda.Event | None]]


class Prefetcher:
    """Builds batches in threads: files are decoded, or rows copied to a GPU, while the device computes.

    Rows are copied to a GPU on a stream of their own. The computing stream waits only for the copy of its own batch,
    and the memory of a batch is not reused before the computing stream is done with it.

    Args:
        build_batch: called with the arguments of `submit`.
        device: that batches are built on.
        num_threads: that build a batch each. One suffices where rows are gathered; where they are decoded, the slowest
            row of a batch would let the other cores wait.
        ahead: how many batches to request before they are needed.
    """

    def __init__(self, build_batch: BuildBatch, device: torch.device, num_threads: int = 1, ahead: int = 1) -> None:
        self.build_batch, self.device, self.ahead = build_batch, device, ahead
        self.pool = ThreadPoolExecutor(num_threads, thread_name_prefix="loader")
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call, unused-ignore]

    def submit(self, *args: object) -> Pending:
        """Start to build a batch."""
        return self.pool.submit(self._build, *args)

    def result(self, pending: Pending) -> Batch:
        """Wait for a batch, and let the current stream wait for its copy; an error in the thread is raised here."""
        batch, copied = pending.result()
        if copied is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_event(copied)
            for tensor in iterate_tensors(batch):
                tensor.record_stream(computing)
        return batch

    def _build(self, *args: object) -> tuple[Batch, torch.cuda.Event | None]:
        with torch.cuda.stream(self.stream):  # None: the current stream
            batch = self.build_batch(*args)
        return batch, None if self.stream is None else self.stream.record_event()


def iterate_tensors(value: object) -> Iterator[Tensor]:
    """Yield every tensor of a batch.

    Args:
        value: a batch, or any nesting of dicts and sequences of tensors.
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from iterate_tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from iterate_tensors(item)
