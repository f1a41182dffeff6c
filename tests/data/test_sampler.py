"""Which rows a batch has: a function of seed and step."""

import numpy as np
import pytest

from mmrun.data.sampler import Mixture, Permutations, RowSampler, balance_classes, shard_batch

ROWS = np.array([3, 5, 8, 9, 12])


def build_sampler(seed=0, rank=0, world=1, batch_size=2):
    return RowSampler(Permutations(ROWS, seed), batch_size, rank, world)


def test_each_epoch_is_another_permutation_of_the_rows():
    sampler = build_sampler().stream
    first, second = sampler.permute_rows(0).tolist(), sampler.permute_rows(1).tolist()
    assert first != second
    assert sorted(first) == sorted(second) == ROWS.tolist()


def test_batches_cut_the_permutations_one_after_the_other():
    sampler = build_sampler().stream
    stream = [*sampler.permute_rows(0).tolist(), *sampler.permute_rows(1).tolist()]
    batches = [build_sampler().sample_batch(step).tolist() for step in range(5)]  # the third spans both epochs
    assert batches == [stream[i : i + 2] for i in range(0, 10, 2)]


def test_the_order_depends_on_the_seed_alone():
    order = build_sampler().stream.permute_rows(7).tolist()
    assert order == build_sampler(batch_size=4).stream.permute_rows(7).tolist()
    assert order != build_sampler(seed=1).stream.permute_rows(7).tolist()


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


def test_balanced_batches_have_as_many_rows_of_each_class():
    classes = np.array([0] * 90 + [1] * 9 + [2])
    sampler = RowSampler(balance_classes(np.arange(100), classes, seed=0), batch_size=12)
    batches = [sampler.sample_batch(step) for step in range(30)]
    for batch in batches:
        assert np.bincount(classes[batch]).tolist() == [4, 4, 4]
    counts = np.bincount(np.concatenate(batches))
    assert set(counts[:90]) == {1, 2}  # 120 draws of 90 rows: each at least once
    assert set(counts[90:99]) == {13, 14}
    assert counts[99] == 120


def test_a_mixture_has_its_share_of_labelled_rows_in_every_batch():
    labelled, unlabelled = np.arange(5), np.arange(5, 100)
    sampler = RowSampler(Mixture(Permutations(labelled, 0), Permutations(unlabelled, 0), share=0.25), batch_size=8)
    batches = [sampler.sample_batch(step) for step in range(20)]
    assert [int((batch < 5).sum()) for batch in batches] == [2] * 20
    counts = np.bincount(np.concatenate(batches))
    assert counts[:5].tolist() == [8] * 5  # 40 draws
    assert set(counts[5:]) == {1, 2}


def test_ranks_share_a_balanced_batch():
    stream = balance_classes(ROWS, np.array([0, 0, 0, 1, 1]), seed=0)
    parts = [RowSampler(stream, 4, rank, world=2).sample_batch(3).tolist() for rank in (0, 1)]
    assert parts[0] + parts[1] == RowSampler(stream, 4).sample_batch(3).tolist()
