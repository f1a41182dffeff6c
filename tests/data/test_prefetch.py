import threading

import numpy as np
import pytest
import torch

from mmrun.data.prefetch import Prefetcher, SyncBatcher, iterate_tensors
from mmrun.types import Batch


def build_batch(rows):
    index = torch.from_numpy(rows)
    return Batch({"x": index.float(), "text": {"ids": index}}, {"x": index > 0}, {"label": index}, index)


def test_a_thread_makes_what_the_caller_would():
    names = []

    def noted(rows):
        names.append(threading.current_thread().name)
        return build_batch(rows)

    rows = np.arange(3)
    batches = []
    for maker in (SyncBatcher(noted), Prefetcher(noted, torch.device("cpu"))):
        batches.append(maker.result(maker.submit(rows)))
    assert all(one.equal(other) for one, other in zip(*map(iterate_tensors, batches), strict=True))
    assert names[0] == threading.current_thread().name
    assert names[1].startswith("loader")


def test_what_fails_in_the_thread_is_said_where_the_batch_is_taken():
    def broken(rows):
        raise ValueError("no such row")

    ahead = Prefetcher(broken, torch.device("cpu"))
    with pytest.raises(ValueError, match="no such row"):
        ahead.result(ahead.submit(np.arange(1)))


def test_every_tensor_is_found():
    assert len(list(iterate_tensors(build_batch(np.arange(2))))) == 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_copies_on_another_stream_are_waited_for():
    device = torch.device("cuda")

    def slow(rows):
        return build_batch(rows)._replace(index=torch.from_numpy(rows).pin_memory().to(device, non_blocking=True))

    ahead = Prefetcher(slow, device)
    pending = [ahead.submit(np.full(1_000_000, number)) for number in range(8)]
    assert [int(ahead.result(item).index.sum()) for item in pending] == [number * 1_000_000 for number in range(8)]
