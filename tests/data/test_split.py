from dataclasses import replace

import numpy as np
import pytest

from mmrun.data.split import (
    choose_held_out_rows,
    choose_labelled_rows,
    compute_strata,
    has_target,
    hash_split,
    make_split,
)
from mmrun.data.table import Table, Target
from mmrun.errors import ConfigError, DataError


def table_of(values: np.ndarray, task: str = "classification", split: np.ndarray | None = None) -> Table:
    split = np.full(len(values), "train") if split is None else split
    ids = [str(row) for row in range(len(values))]
    return Table(ids, {}, {"label": Target(task, values, ["a", "b"])}, split, "f")


def test_eighty_ten_ten_in_every_class():
    classes = np.repeat([0, 1, 2], [500, 300, 200])
    split = make_split(1000, seed=0, strata=classes)
    counts = {name: np.bincount(classes[split == name]).tolist() for name in ("train", "val", "test")}
    assert counts == {"train": [400, 240, 160], "val": [50, 30, 20], "test": [50, 30, 20]}


def test_a_split_is_a_function_of_its_seed():
    first, same, different = (make_split(100, seed) for seed in (0, 0, 1))
    assert (first == same).all()
    assert (first != different).any()
    assert hash_split(first) == hash_split(same) != hash_split(different)


def test_at_least_three_rows_are_needed():
    assert sorted(make_split(3, 0).tolist()) == ["test", "train", "val"]
    assert sorted(make_split(9, 0).tolist()) == ["test", *["train"] * 7, "val"]
    with pytest.raises(DataError) as error:
        make_split(2, 0)
    assert str(error.value) == "2 rows cannot be split into train, val and test; at least 3 are needed"


def test_a_group_stays_together():
    rng = np.random.default_rng(0)
    groups, classes = rng.integers(0, 60, 900), rng.integers(0, 3, 900)
    split = make_split(900, 0, classes, groups)
    assert all(len(set(split[groups == group])) == 1 for group in range(60))
    shares = [np.mean(split == name) for name in ("train", "val", "test")]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.03)


def test_each_label_of_label_sets_is_split_in_the_same_proportions():
    labels = np.stack([np.arange(200) % 10 == 0, np.arange(200) % 2 == 1], axis=1)
    split = make_split(200, 0, labels)
    counts = {name: labels[split == name].sum(axis=0).tolist() for name in ("train", "val", "test")}
    assert counts == {"train": [16, 80], "val": [2, 10], "test": [2, 10]}


def test_groups_of_label_sets_stay_together():
    groups, labels = np.arange(300) // 3, np.arange(300)[:, None] // 3 % 5 == np.arange(5)
    split = make_split(300, 0, labels, groups)
    assert all(len(set(split[groups == group])) == 1 for group in range(100))
    assert {name: labels[split == name].sum(axis=0).tolist() for name in ("val", "test")} == {
        "val": [6, 6, 6, 6, 6],
        "test": [6, 6, 6, 6, 6],
    }


def test_three_groups_fill_three_splits():
    groups = np.repeat(["x", "y", "z"], [50, 2, 1])
    assert sorted(set(make_split(53, 0, groups=groups))) == ["test", "train", "val"]
    with pytest.raises(DataError) as error:
        make_split(50, 0, groups=np.repeat(["x", "y"], 25))
    assert (
        str(error.value)
        == "2 groups cannot be split into train, val and test; at least 3 are needed, or no group column"
    )


def test_labelled_shares_are_nested_and_stratified():
    classes = np.repeat([0, 1], [180, 20])
    table = table_of(classes)
    tenth, fifth, everything = (choose_labelled_rows(table, share, seed=3) for share in (0.1, 0.2, 1.0))
    assert np.bincount(classes[tenth]).tolist() == [18, 2]
    assert set(tenth) < set(fifth) < set(everything)
    assert everything.tolist() == list(range(200))
    assert set(tenth) != set(choose_labelled_rows(table, 0.1, seed=4))


def test_every_class_keeps_a_labelled_row():
    classes = np.repeat([0, 1], [999, 1])
    assert 999 in choose_labelled_rows(table_of(classes), 0.001, seed=0)


def test_only_training_rows_with_a_target_are_labelled():
    classes = np.array([0, 1, -100, 0, 1, 0])
    split = np.array(["train", "train", "train", "val", "test", "train"])
    assert choose_labelled_rows(table_of(classes, split=split), 1.0, 0).tolist() == [0, 1, 5]


def test_labelled_numbers_cover_their_range():
    numbers = np.arange(1000, dtype=np.float32)
    rows = choose_labelled_rows(table_of(numbers, "regression"), 0.1, 0)
    assert np.histogram(numbers[rows], bins=10, range=(0, 1000))[0].tolist() == [10] * 10


def test_strata_and_visible_targets_of_every_task():
    labels = np.array([[0, 1], [np.nan, np.nan]], dtype=np.float32)
    assert compute_strata(Target("multilabel", labels, ["a", "b"])).tolist() == [0, 0]
    assert has_target(Target("multilabel", labels, ["a", "b"])).tolist() == [True, False]
    assert has_target(Target("regression", np.array([1.5, np.nan]), ["y"])).tolist() == [True, False]
    assert has_target(Target("classification", np.array([0, -100]), ["a", "b"])).tolist() == [True, False]


def test_a_labelled_share_out_of_range():
    with pytest.raises(ConfigError) as error:
        choose_labelled_rows(table_of(np.array([0, 1])), 0.0, 0)
    assert (
        str(error.value)
        == "dataset.labelled: 0.0 is not a share of the training rows; it must be above 0 and at most 1"
    )


def test_no_target_at_all():
    with pytest.raises(DataError) as error:
        choose_labelled_rows(table_of(np.array([-100, -100])), 1.0, 0)
    message = "no training row has a target; label some, or check the name of the target column"
    assert str(error.value) == message


def test_held_out_rows_are_stratified_even_if_labels_cycle():
    classes = np.tile(np.arange(10), 20)
    table, rows = table_of(classes), np.arange(200)
    held_out = choose_held_out_rows(table, rows, 0.1, seed=0)
    assert np.bincount(classes[held_out]).tolist() == [2] * 10
    assert (held_out == choose_held_out_rows(table, rows, 0.1, seed=0)).all()
    assert (held_out != choose_held_out_rows(table, rows, 0.1, seed=1)).any()
    assert np.isin(choose_held_out_rows(table, rows[50:], 0.1, seed=0), rows[50:]).all()


def test_every_class_keeps_a_row_that_is_not_held_out():
    table = table_of(np.repeat([0, 1, 2], [10, 1, 2]))
    held_out = choose_held_out_rows(table, np.arange(13), 0.9, seed=0)
    assert (len(held_out), 10 in held_out) == (9 + 1, False)
    assert len(choose_held_out_rows(table, np.array([10, 12]), 0.9, seed=0)) == 0
    assert len(choose_held_out_rows(table, np.arange(4), 0.1, seed=0)) == 0


def test_rows_of_one_group_are_held_out_together():
    table = replace(table_of(np.tile([0, 1], 50)), groups=np.repeat(np.arange(20), 5))
    held_out = choose_held_out_rows(table, np.arange(100), 0.1, seed=0)
    assert np.unique(table.groups[held_out], return_counts=True)[1].tolist() == [5, 5]
