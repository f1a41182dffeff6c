import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrun.data.partition import allocate, partition_by_time, partition_groups, partition_rows
from mmrun.errors import DataError

SPLITS = (0.8, 0.1, 0.1)


def count(parts: np.ndarray, labels: np.ndarray) -> list[list[int]]:
    """Return the rows of each label by part."""
    num_parts = parts.max() + 1
    if labels.ndim == 2:
        return [labels[parts == part].sum(axis=0).tolist() for part in range(num_parts)]
    return [np.bincount(labels[parts == part], minlength=labels.max() + 1).tolist() for part in range(num_parts)]


def test_each_class_is_divided_as_all_rows_are():
    classes = np.repeat([0, 1, 2], [500, 300, 200])
    assert count(partition_rows(SPLITS, classes, 0), classes) == [[400, 240, 160], [50, 30, 20], [50, 30, 20]]
    assert count(partition_rows([0.2] * 5, classes, 0), classes) == [[100, 60, 40]] * 5


def test_a_partition_is_a_function_of_its_seed():
    classes = np.tile([0, 1], 50)
    first, same, different = (partition_rows(SPLITS, classes, seed) for seed in (0, 0, 1))
    assert (first == same).all()
    assert (first != different).any()


def test_every_class_has_a_training_row_where_others_can_spare_one():
    classes = np.concatenate([np.zeros(100, dtype=int), np.arange(1, 21)])
    for seed in range(5):
        parts = partition_rows((0.4, 0.3, 0.3), classes, seed, train=0)
        assert np.bincount(parts).tolist() == [48, 36, 36]
        assert set(classes[parts == 0]) == set(range(21))


def test_rare_labels_of_label_sets_are_divided_too():
    rng = np.random.default_rng(0)
    labels = rng.random((1000, 4)) < [0.5, 0.3, 0.1, 0.01]
    labels[:, 3] = False
    labels[:10, 3] = True
    parts = partition_rows(SPLITS, labels, 0)
    assert np.bincount(parts).tolist() == [800, 100, 100]
    np.testing.assert_allclose(np.divide(count(parts, labels), labels.sum(axis=0)).T, [SPLITS] * 4, atol=0.02)
    assert [row[3] for row in count(parts, labels)] == [8, 1, 1]


def test_sizes_are_exact_and_no_part_is_empty():
    assert allocate(1000, SPLITS).tolist() == [800, 100, 100]
    assert allocate(7, SPLITS).tolist() == [5, 1, 1]
    assert allocate(3, SPLITS).tolist() == [1, 1, 1]
    assert allocate(10, [1 / 3] * 3).tolist() == [4, 3, 3]
    with pytest.raises(DataError) as error:
        allocate(2, SPLITS)
    assert str(error.value) == "2 rows cannot be divided into 3 parts; each needs at least one"


def test_the_classes_of_groups_are_divided_too():
    rng = np.random.default_rng(0)
    class_of_group = rng.permutation(np.repeat([0, 1], [150, 50]))
    groups = np.repeat(np.arange(200), rng.integers(1, 9, 200))
    classes = class_of_group[groups]
    parts = partition_groups(SPLITS, classes, groups, 0)
    shares = np.divide(count(parts, classes), np.bincount(classes)).T
    np.testing.assert_allclose(shares, [SPLITS, SPLITS], atol=0.02)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=3, max_size=60),
    shares=st.sampled_from([SPLITS, (0.6, 0.2, 0.2), (0.5, 0.5), (0.34, 0.33, 0.33)]),
    seed=st.integers(0, 5),
    num_classes=st.integers(1, 4),
)
def test_no_group_is_torn_and_sizes_are_within_one_group(sizes, shares, seed, num_classes):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    classes = rng.integers(0, num_classes, len(groups))
    parts = partition_groups(shares, classes, groups, seed)
    assert all(len(set(parts[groups == group])) == 1 for group in range(len(sizes)))
    assert set(parts) == set(range(len(shares)))
    assert (parts == partition_groups(shares, classes, groups, seed)).all()
    if min(shares) * len(groups) >= max(sizes):
        difference = np.bincount(parts) - np.array(shares) * len(groups)
        assert np.abs(difference).max() < max(sizes)


def test_label_sets_of_groups():
    labels = np.array([[True, False], [True, True], [False, False], [False, True]])
    parts = partition_groups([0.5, 0.5], labels, np.array(["a", "a", "b", "b"]), 0)
    assert parts[0] == parts[1] != parts[2] == parts[3]


def test_more_parts_than_groups():
    with pytest.raises(DataError) as error:
        partition_groups([0.2] * 5, np.zeros(6, dtype=int), np.array([0, 0, 1, 1, 2, 2]), 0)
    assert str(error.value) == "3 groups cannot be divided into 5 parts; each needs at least one"


def test_the_oldest_rows_are_first_and_equal_times_stay_together():
    times = np.array([5, 1, 1, 1, 2, 3, 3, 4, 9, 9])
    assert partition_by_time((0.6, 0.2, 0.2), times).tolist() == [1, 0, 0, 0, 0, 0, 0, 1, 2, 2]
    assert partition_by_time(SPLITS, np.array([1, 1, 1, 1, 2, 3])).tolist() == [0, 0, 0, 0, 1, 2]
    assert partition_by_time(SPLITS, np.array([3, 3, 3, 3, 2, 1])).tolist() == [2, 2, 2, 2, 1, 0]
    with pytest.raises(DataError) as error:
        partition_by_time(SPLITS, np.array([1, 1, 2]))
    assert str(error.value) == "2 different times cannot be divided into 3 parts; each needs at least one"
