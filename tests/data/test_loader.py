import threading

import numpy as np
import pytest
import torch
from PIL import Image

from mmrun.data.loader import Loader, hide_targets
from mmrun.data.preprocess.image import Pixels
from mmrun.data.store import LazyColumn, MappedColumn, open_column
from mmrun.data.table import Column
from mmrun.errors import DataError

N = 10


def columns():
    rows = torch.arange(N)
    present = np.ones(N, dtype=bool)
    present[4] = False
    return {
        "image": MappedColumn({"": rows.to(torch.uint8).reshape(N, 1, 1, 1)}, present, {}),
        "audio": MappedColumn({"waveform": rows.to(torch.int16)[:, None], "length": rows}, np.ones(N, bool), {}),
        "text": MappedColumn({"ids": rows.int()[:, None], "mask": rows[:, None] > 0}, np.ones(N, bool), {}),
    }


def loader(rows=None, **arguments):
    arguments = {"batch_size": 4, "seed": 0, **arguments}
    rows = np.arange(N) if rows is None else np.array(rows)
    return Loader(columns(), {"label": np.arange(N), "height": np.linspace(0, 1, N)}, rows, **arguments)


def test_training_reads_one_permutation_per_epoch():
    loaded = loader(rows=[1, 3, 5, 7, 9, 2, 4])
    stream = torch.cat([loaded.batch(step).index for step in range(7)]).tolist()
    epochs = [stream[start : start + 7] for start in range(0, 28, 7)]
    assert all(sorted(epoch) == [1, 2, 3, 4, 5, 7, 9] for epoch in epochs)
    assert epochs == [loaded.sampler.stream.permute_rows(epoch).tolist() for epoch in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert loaded.steps_per_epoch == 7 / 4


def test_batches_can_be_loaded_in_any_order():
    first, second = loader(), loader()
    forward = [first.batch(step).index.tolist() for step in range(8)]
    backward = [second.batch(step).index.tolist() for step in reversed(range(8))]
    assert forward == backward[::-1]
    assert forward != [loader(seed=1).batch(step).index.tolist() for step in range(8)]


def test_a_batch_larger_than_the_rows():
    index = loader(rows=[0, 1, 2], batch_size=8).batch(0).index.tolist()
    assert sorted(index[:3]) == sorted(index[3:6]) == [0, 1, 2]


def test_stored_types_are_converted_for_models():
    batch = loader(rows=[5], batch_size=1).batch(0)
    assert batch.inputs["image"].tolist() == [[[[pytest.approx(5 / 255)]]]]
    assert batch.inputs["audio"]["waveform"].tolist() == [[5 / 32768]]
    assert batch.inputs["audio"]["length"].tolist() == [5]
    assert batch.inputs["text"]["ids"].dtype == torch.int64
    assert batch.inputs["text"]["mask"].dtype == torch.bool
    assert batch.targets["label"].tolist() == [5]
    assert batch.index.tolist() == [5]


def test_batches_hold_which_modalities_are_present():
    batch = next(loader(batch_size=N).ordered())
    assert batch.present["image"].tolist() == [row != 4 for row in range(N)]
    assert batch.present["text"].all()


def test_hidden_targets():
    batch = next(loader(batch_size=N, hidden=np.array([2, 3])).ordered())
    assert batch.targets["label"].tolist() == [0, 1, -100, -100, 4, 5, 6, 7, 8, 9]
    assert batch.targets["height"].isnan().tolist() == [row in (2, 3) for row in range(N)]
    labels = np.zeros((3, 2), dtype=np.float32)
    assert np.isnan(hide_targets(labels, np.array([1]))).any(axis=1).tolist() == [False, True, False]
    assert not np.isnan(labels).any()


def test_evaluation_reads_every_row_once_in_order():
    assert [batch.index.tolist() for batch in loader().ordered()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(loader(rows=np.zeros(0, dtype=int)).ordered()) == []


def test_ranks_share_a_batch():
    alone = [loader().batch(step).index.tolist() for step in range(5)]
    ranks = [loader(rank=rank, world=2) for rank in range(2)]
    together = [[row for rank in ranks for row in rank.batch(step).index.tolist()] for step in range(5)]
    assert together == alone


def test_ranks_share_the_evaluation():
    shares = [[b.index.tolist() for b in loader(rows=range(9), rank=rank, world=2).ordered()] for rank in range(2)]
    assert shares == [[[0, 1], [4, 5], [8]], [[2, 3], [6, 7], [8]]]


def test_a_lazy_column_gives_the_same_batches(tmp_path):
    paths = []
    for row in range(N):
        paths.append(tmp_path / f"{row}.png")
        Image.fromarray(np.full((4, 4), row * 20, dtype=np.uint8)).save(paths[-1])
    column = Column("image", paths)
    mapped, lazy = (open_column(column, Pixels(4, 1), str(limit), tmp_path / "c", limit) for limit in (1 << 20, 1))
    assert isinstance(lazy, LazyColumn)
    first, second = (Loader({"image": c}, {}, np.arange(N), batch_size=4, seed=0) for c in (mapped, lazy))
    for step in (0, 1, 2, 7, 3):
        assert first.batch(step).inputs["image"].equal(second.batch(step).inputs["image"])
    for a, b in zip(first.ordered(), second.ordered(), strict=True):
        assert a.inputs["image"].equal(b.inputs["image"])
        assert a.index.equal(b.index)


class CountingColumn(LazyColumn):
    """Records which rows are decoded, and when all of some batches are."""

    def __init__(self):
        column = Column("image", [np.full((1, 2, 2), row, dtype=np.uint8) for row in range(N)])
        super().__init__(column, Pixels(2, 1), {"": np.zeros((1, 2, 2), dtype=np.uint8)}, {}, "name")
        self.batches, self.five = [], threading.Event()

    def gather(self, rows, pin=False):
        gathered = super().gather(rows, pin)
        self.batches.append(rows.tolist())
        if len(self.batches) == 5:
            self.five.set()
        return gathered


def test_a_lazy_column_is_decoded_ahead_of_the_steps_and_each_batch_once():
    column = CountingColumn()
    loaded = Loader({"image": column}, {}, np.arange(N), batch_size=2)
    loaded.batch(0)
    assert column.five.wait(timeout=10)  # the batch of this step, and the next four
    for step in (1, 2, 3):
        loaded.batch(step)
    expected = [loaded.sampler.sample_batch(step).tolist() for step in range(4)]
    assert all(column.batches.count(rows) == 1 for rows in expected)


def test_a_bad_row_ahead_is_an_error_of_its_own_step():
    column = CountingColumn()
    loaded = Loader({"image": column}, {}, np.arange(N), batch_size=1)
    bad_step = next(step for step in range(N) if loaded.sampler.sample_batch(step)[0] == 7)
    column._column.values[7] = np.zeros(3, dtype=np.uint8)
    for step in range(bad_step):
        loaded.batch(step)
    with pytest.raises(DataError, match="row 7: "):
        loaded.batch(bad_step)


def test_repeated_rows_are_not_counted():
    """Nine rows in batches of four for four ranks: three of them repeat the last row."""
    shares = [
        [(b.index.tolist(), count) for b, count in loader(rows=range(9), rank=rank, world=4).counted()]
        for rank in range(4)
    ]
    assert shares[0] == [([0], 1), ([4], 1), ([8], 1)]
    assert shares[3] == [([3], 1), ([7], 1), ([8], 0)]
