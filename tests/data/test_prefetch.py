import threading

import numpy as np
import pytest
import torch

from mmrun.data.prefetch import Prefetcher, SyncBatcher, iterate_tensors
from mmrun.types import Batch


def build_batch(rows):
    index = torch.from_numpy(rows)
    return Batch({"x": index.float(), "text": {"ids": index}}, {"x": index > 0}, {"label": index}, index)


def test_a_thread_builds_the_same_batch_as_the_caller():
    names = []

    def build_and_note(rows):
        names.append(threading.current_thread().name)
        return build_batch(rows)

    rows = np.arange(3)
    batches = []
    for batcher in (SyncBatcher(build_and_note), Prefetcher(build_and_note, torch.device("cpu"))):
        batches.append(batcher.result(batcher.submit(rows)))
    assert all(a.equal(b) for a, b in zip(*map(iterate_tensors, batches), strict=True))
    assert names[0] == threading.current_thread().name
    assert names[1].startswith("loader")


def test_an_error_in_the_thread_is_raised_by_result():
    def broken(rows):
        raise ValueError("no such row")

    prefetcher = Prefetcher(broken, torch.device("cpu"))
    with pytest.raises(ValueError, match="no such row"):
        prefetcher.result(prefetcher.submit(np.arange(1)))


def test_every_tensor_is_found():
    assert len(list(iterate_tensors(build_batch(np.arange(2))))) == 5
