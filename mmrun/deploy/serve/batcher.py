"""Dynamic batching: requests that wait at the same time are predicted together, by one thread."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class QueueFullError(Exception):
    """As many rows wait as may wait."""


@dataclass(frozen=True)
class _Job(Generic[T, R]):
    item: T
    num_rows: int
    future: "Future[R]"
    submitted: float = field(default_factory=time.monotonic)


class Batcher(Generic[T, R]):
    """Collects items into batches, and computes them in one thread.

    A batch starts when it is full, or when its first item has waited long enough. While one is computed, the next one
    fills. An item that is cancelled before that is not computed.

    Args:
        compute: a batch of items -> their results, in order; a result that is an exception is raised to its waiter.
        max_rows: of a batch; an item with more is computed alone.
        max_wait: seconds that an item waits for others.
        max_queued: rows that may wait.
    """

    def __init__(
        self, compute: Callable[[Sequence[T]], Sequence[R | Exception]], max_rows: int, max_wait: float, max_queued: int
    ) -> None:
        self._compute = compute
        self._max_rows, self._max_wait, self._max_queued = max_rows, max_wait, max_queued
        self._jobs: deque[_Job[T, R]] = deque()
        self._queued_rows = 0
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="predict", daemon=True)
        self._thread.start()

    @property
    def queued_rows(self) -> int:
        """How many rows wait."""
        return self._queued_rows

    @property
    def is_working(self) -> bool:
        """Whether items are accepted and computed."""
        return self._thread.is_alive() and not self._is_closing

    def submit(self, item: T, num_rows: int) -> "Future[R]":
        """Queue an item.

        Raises:
            QueueFullError: too many rows wait, or the batcher is closed.
        """
        job: _Job[T, R] = _Job(item, num_rows, Future())
        with self._changed:
            if self._is_closing or (self._jobs and self._queued_rows + num_rows > self._max_queued):
                raise QueueFullError
            self._jobs.append(job)
            self._queued_rows += num_rows
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Compute what waits, then stop."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while jobs := self._take():
            running = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if running:
                self._run(running)

    def _run(self, jobs: Sequence[_Job[T, R]]) -> None:
        try:
            results = self._compute([job.item for job in jobs])
        except Exception as error:  # of the model or the machine: the server goes on
            results = [error] * len(jobs)
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)

    def _take(self) -> list[_Job[T, R]]:
        """Wait for a batch; none once the batcher is closed and nothing waits."""
        with self._changed:
            while not self._jobs and not self._is_closing:
                self._changed.wait()
            while self._jobs and self._queued_rows < self._max_rows and not self._is_closing:
                remaining = self._jobs[0].submitted + self._max_wait - time.monotonic()
                if remaining <= 0:
                    break
                self._changed.wait(remaining)
            jobs: list[_Job[T, R]] = []
            num_rows = 0
            while self._jobs and (not jobs or num_rows + self._jobs[0].num_rows <= self._max_rows):
                jobs.append(self._jobs.popleft())
                num_rows += jobs[-1].num_rows
            self._queued_rows -= num_rows
            return jobs
