"""Who makes batches: the caller when it asks, or a thread before it asks."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from mmrun.types import Batch

Make = Callable[..., Batch]  # of rows, and how


class AtOnce:
    """Makes a batch when it is taken: best where gathering rows takes the cores that training needs."""

    def __init__(self, make: Make) -> None:
        self.make = make

    def begin(self, *asked: Any) -> tuple[Any, ...]:
        """Note what will be asked for."""
        return asked

    def take(self, begun: tuple[Any, ...]) -> Batch:
        """Make it."""
        return self.make(*begun)


Begun = Future[tuple[Batch, Any]]


class Ahead:
    """Makes batches in a thread: files are decoded, or rows copied to a GPU, while the device computes.

    A GPU receives them on a stream of their own; the stream that computes waits for the copy of its batch alone, and
    their memory is not used again before it is done with them.
    """

    def __init__(self, make: Make, device: torch.device) -> None:
        self.make, self.device = make, device
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def begin(self, *asked: Any) -> Begun:
        """Start to make a batch."""
        return self.pool.submit(self._make, *asked)

    def take(self, begun: Begun) -> Batch:
        """Wait until it is made."""
        batch, copied = begun.result()
        if copied is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_event(copied)
            for tensor in tensors(batch):
                tensor.record_stream(computing)
        return batch

    def _make(self, *asked: Any) -> tuple[Batch, Any]:
        with torch.cuda.stream(self.stream):  # None: no other stream
            batch = self.make(*asked)
        return batch, None if self.stream is None else self.stream.record_event()


def tensors(value: Any) -> Iterator[Tensor]:
    """Give every tensor of a batch."""
    if isinstance(value, Tensor):
        yield value
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors(item)
