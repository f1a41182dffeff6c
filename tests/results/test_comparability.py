"""Which runs are on equal terms, and what differs between those that are not."""

import pytest

from mmrun.results.comparability import describe_seeded_splits
from mmrun.results.selection import read_record
from tests.results.compared import compare, three_seeds
from tests.results.compared import outputs as outputs
from tests.results.fabricate import finished, rewrite


def test_of_many_groups_those_with_different_seeds_are_named(outputs):
    for strategy in ("scratch", "component", "holistic", "frozen"):
        three_seeds(outputs, strategy, [0.5, 0.6, 0.7])
    for strategy in ("lora", "adapter"):
        finished(outputs, 0.71, strategy, seed=2)
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert compared.notices[0] == ("not every group has the same seed: adapter, lora have 2; the 4 others have 0, 1, 2")


def test_rows_not_on_equal_terms_are_flagged_and_never_best(outputs):
    three_seeds(outputs, "scratch", [0.500, 0.700, 0.600])
    three_seeds(outputs, "component", [0.650, 0.851, 0.749], budget={"epochs": 20.0, "steps": None})
    three_seeds(outputs, "holistic", [0.540, 0.741, 0.639])
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    rows_by_name = {row.group[0]: row for row in compared.rows}
    assert {name: row.unmatched for name, row in rows_by_name.items()} == {
        "scratch": (),
        "component": ("budget",),
        "holistic": (),
    }
    assert {name: row.best for name, row in rows_by_name.items()} == {
        "scratch": False,
        "component": False,
        "holistic": True,
    }
    assert compared.notices == ["budget differs between compared runs: epochs=10 (n=6), epochs=20 (n=3)"]


def test_an_equal_budget_that_was_not_spent_is_flagged(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    for run in three_seeds(outputs, "component", [0.9, 0.9, 0.9]):
        rewrite(run, cost__epochs=9.4)  # of 10: stopped early
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert compared.rows[1].unmatched == ("spending",)
    assert compared.notices == ["component spent 9.4 epochs, scratch 10: more than 5 % apart"]
    rewrite(run, cost__epochs=10.4)  # the mean is 9.73
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows[1].unmatched == ()


def test_runs_can_be_matched_by_what_they_spent(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    for run in three_seeds(outputs, "component", [0.9, 0.9, 0.9], budget={"epochs": None, "steps": 300}):
        rewrite(run, cost__epochs=20.0, cost__flops=1.55e12)
    by_flops = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"], match="flops")
    assert (by_flops.rows[1].unmatched, by_flops.notices) == ((), [])
    by_epochs = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"], match="epochs")
    assert by_epochs.rows[1].unmatched == ("spending",)
    by_budget = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert by_budget.rows[1].unmatched == ("budget",)


@pytest.mark.parametrize(
    ("change", "notice"),
    [
        (
            {"dataset__fingerprint": "other"},
            "data fingerprint differs between compared runs: f-digits (n=3), other (n=3)",
        ),
        ({"dataset__split": "s9"}, "split differs between compared runs: s0 (n=3), s9 (n=3)"),
        ({"budget": {"steps": 7}}, "budget differs between compared runs: epochs=10 (n=3), steps=7 (n=3)"),
        ({"dataset__labelled": 0.1}, "labelled share differs between compared runs: 0.1 (n=3), 1 (n=3)"),
        ({"config__dataset__shots": 1}, "shots differs between compared runs: 1 (n=3), none (n=3)"),
        ({"metric_version": 2}, "metric version differs between compared runs: 1 (n=3), 2 (n=3)"),
        ({"config__trainer__precision": "bf16"}, "precision differs between compared runs: bf16 (n=3), fp32 (n=3)"),
    ],
)
def test_differences_between_compared_runs_are_reported(outputs, change, notice):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    for run in three_seeds(outputs, "component", [0.5, 0.6, 0.7]):
        rewrite(run, **change)
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).notices == [notice]


def test_the_number_of_labelled_rows_is_part_of_equal_terms(outputs):
    for strategy, rows in (("scratch", 10), ("component", 1000)):
        for run in three_seeds(outputs, strategy, [0.5, 0.6, 0.7]):
            rewrite(run, dataset__labelled_rows=rows)
    three_seeds(outputs, "holistic", [0.5, 0.6, 0.7])  # of a version that did not record it
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert compared.notices == ["labelled rows differs between compared runs: 10 (n=3), 1000 (n=3)"]
    assert [row.unmatched for row in compared.rows] == [(), ("labelled rows",), ()]


def test_of_folds_without_pairing_the_fold_is_named_and_not_its_split(outputs):
    for strategy, folds in (("scratch", [0, 1, 2]), ("component", [0, 1, 3])):
        for fold, run in zip(folds, three_seeds(outputs, strategy, [0.5, 0.6, 0.7]), strict=True):
            rewrite(run, dataset__split=f"s{fold}", config__dataset__fold=fold)
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert compared.notices == ["fold differs between compared runs: 0 (n=2), 1 (n=2), 2 (n=1), 3 (n=1)"]


def test_long_values_are_shown_whole(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    for run in three_seeds(outputs, "component", [0.5, 0.6, 0.7]):
        rewrite(run, dataset__fingerprint="a-folder/that-has-a-long-name")
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).notices == [
        "data fingerprint differs between compared runs: a-folder/that-has-a-long-name (n=3), f-digits (n=3)"
    ]


def test_runs_paired_by_fold_have_one_split_in_each_pair(outputs):
    for strategy in ("scratch", "component"):
        for fold, run in enumerate(three_seeds(outputs, strategy, [0.5, 0.6, 0.7])):
            rewrite(run, dataset__split=f"s{fold}", config__dataset__fold=fold)
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["dataset.fold"])
    assert [row.unmatched for row in compared.rows] == [(), ()]
    assert compared.rows[1].pairs == 3


def test_a_split_that_the_seed_draws_is_explained_once_and_no_reason_for_doubt(outputs):
    runs = []
    for strategy in ("scratch", "component"):
        for seed, run in enumerate(three_seeds(outputs, strategy, [0.5, 0.6, 0.7])):
            rewrite(run, dataset__split=f"s{seed}", config__dataset__split_seed=seed)
            runs.append(read_record(run))
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch").notices == []
    (notice,) = describe_seeded_splits(runs)
    assert notice.startswith("each seed has a split of its own, so that intervals include the choice of rows; --paired")
    rewrite(run, dataset__split="other")  # of the last seed, in one of the groups
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch").notices == [
        "split differs between compared runs: other (n=1), s2 (n=1)"
    ]


def test_a_split_seed_that_is_not_the_seed_explains_nothing(outputs):
    for strategy, split in (("scratch", "s0"), ("component", "s1")):
        for run in three_seeds(outputs, strategy, [0.5, 0.6, 0.7]):
            rewrite(run, dataset__split=split, config__dataset__split_seed=7)
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch").notices == [
        "split differs between compared runs: s0 (n=3), s1 (n=3)"
    ]
