"""Which rows a batch has: a function of seed and step."""

import numpy as np
import pytest

from mmrun.data.sampler import RowSampler, shard_batch

ROWS = np.array([3, 5, 8, 9, 12])


def build_sampler(seed=0, rank=0, world=1, batch_size=2):
    return RowSampler(ROWS, batch_size, seed, rank, world, lengths=None)


def test_each_epoch_is_another_permutation_of_the_rows():
    sampler = build_sampler()
    first, second = sampler.permute_rows(0).tolist(), sampler.permute_rows(1).tolist()
    assert first != second
    assert sorted(first) == sorted(second) == ROWS.tolist()


def test_batches_cut_the_permutations_one_after_the_other():
    sampler = build_sampler()
    stream = [*sampler.permute_rows(0).tolist(), *sampler.permute_rows(1).tolist()]
    batches = [build_sampler().sample_batch(step).tolist() for step in range(5)]  # the third spans both epochs
    assert batches == [stream[i : i + 2] for i in range(0, 10, 2)]


def test_the_order_depends_on_the_seed_alone():
    assert build_sampler().permute_rows(7).tolist() == build_sampler(batch_size=4).permute_rows(7).tolist()
    assert build_sampler().permute_rows(7).tolist() != build_sampler(seed=1).permute_rows(7).tolist()


def test_ranks_share_a_batch():
    parts = [build_sampler(rank=rank, world=2, batch_size=4).sample_batch(3).tolist() for rank in (0, 1)]
    assert parts[0] + parts[1] == build_sampler(batch_size=4).sample_batch(3).tolist()


@pytest.mark.parametrize(("rank", "rows", "num_real"), [(0, [3, 5], 2), (1, [8, 9], 2), (2, [12, 12], 1)])
def test_the_last_row_is_repeated_where_ranks_do_not_divide_the_batch(rank, rows, num_real):
    part, count = shard_batch(ROWS, rank, world=3)
    assert (part.tolist(), count) == (rows, num_real)


def test_a_rank_without_rows_has_only_repeated_ones():
    part, count = shard_batch(ROWS[:1], rank=1, world=2)
    assert (part.tolist(), count) == ([3], 0)
