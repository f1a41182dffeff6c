"""Requests that wait at the same time are computed together, in one thread."""

import threading
import time

import pytest

from mmrun.deploy.serve.batcher import Batcher, QueueFullError


class Gated:
    """Records batches; each one waits until it is let through."""

    def __init__(self):
        self.batches, self.threads = [], set()
        self.started, self.let_through = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, items):
        self.batches.append(list(items))
        self.threads.add(threading.current_thread().name)
        self.started.release()
        self.let_through.acquire()
        return [item * 10 if item >= 0 else ValueError(item) for item in items]


def open_batcher(compute, max_rows=4, max_wait=0.0, max_queued=8):
    return Batcher(compute, max_rows, max_wait, max_queued)


def test_items_that_arrive_during_a_batch_are_the_next_one():
    compute = Gated()
    batcher = open_batcher(compute)
    first = batcher.submit(1, 1)
    compute.started.acquire()
    rest = [batcher.submit(number, 1) for number in (2, 3, 4, 5, 6)]
    assert batcher.queued_rows == 5
    compute.let_through.release(3)
    assert first.result(5) == 10
    assert [future.result(5) for future in rest] == [20, 30, 40, 50, 60]
    assert compute.batches == [[1], [2, 3, 4, 5], [6]]
    assert compute.threads == {"predict"}
    batcher.close()


def test_an_item_with_more_rows_than_a_batch_is_alone():
    compute = Gated()
    batcher = open_batcher(compute)
    compute.let_through.release(9)
    first = batcher.submit(1, 1)
    first.result(5)
    assert [batcher.submit(number, rows).result(5) for number, rows in ((2, 7), (3, 1))] == [20, 30]
    batcher.close()


def test_a_batch_waits_for_others_until_it_is_full():
    compute = Gated()
    compute.let_through.release(9)
    batcher = open_batcher(compute, max_rows=2, max_wait=60.0)
    futures = [batcher.submit(1, 1), batcher.submit(2, 1)]
    assert [future.result(5) for future in futures] == [10, 20]
    assert compute.batches == [[1, 2]]
    batcher.close()


def test_more_rows_than_may_wait_are_refused():
    compute = Gated()
    batcher = open_batcher(compute, max_queued=3)
    batcher.submit(1, 1)
    compute.started.acquire()
    batcher.submit(2, 9)  # the first that waits is always accepted
    with pytest.raises(QueueFullError):
        batcher.submit(3, 1)
    compute.let_through.release(9)
    batcher.close()


def test_an_exception_reaches_its_waiter_alone():
    compute = Gated()
    batcher = open_batcher(compute, max_wait=60.0, max_rows=2)
    compute.let_through.release(9)
    good, bad = batcher.submit(1, 1), batcher.submit(-1, 1)
    assert good.result(5) == 10
    with pytest.raises(ValueError, match="-1"):
        bad.result(5)
    batcher.close()


def test_a_failing_batch_fails_its_waiters_and_the_next_one_is_computed():
    results = iter([RuntimeError("broken"), [5]])

    def compute(items):
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    batcher = open_batcher(compute)
    with pytest.raises(RuntimeError, match="broken"):
        batcher.submit(1, 1).result(5)
    assert batcher.submit(2, 1).result(5) == 5
    batcher.close()


def test_a_cancelled_item_is_not_computed():
    compute = Gated()
    batcher = open_batcher(compute)
    batcher.submit(1, 1)
    compute.started.acquire()
    cancelled, kept = batcher.submit(2, 1), batcher.submit(3, 1)
    assert cancelled.cancel()
    compute.let_through.release(2)
    assert kept.result(5) == 30
    assert compute.batches == [[1], [3]]
    batcher.close()


def test_closing_computes_what_waits():
    compute = Gated()
    batcher = open_batcher(compute)
    futures = [batcher.submit(1, 1)]
    compute.started.acquire()
    futures.append(batcher.submit(2, 1))
    assert batcher.is_working
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while batcher.is_working:
        time.sleep(0.001)
    with pytest.raises(QueueFullError):
        batcher.submit(3, 1)
    compute.let_through.release(2)
    closing.join(5)
    assert [future.result(0) for future in futures] == [10, 20]
