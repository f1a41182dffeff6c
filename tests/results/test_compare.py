"""Comparisons of made-up runs, each answer worked out by hand."""

import math

import pytest

from mmrun.errors import ConfigError
from tests.results.compared import compare, three_seeds
from tests.results.compared import outputs as outputs
from tests.results.fabricate import finished

T2 = 4.302652729911275  # 97.5 % quantile of t with 2 degrees of freedom


def test_a_row_has_mean_deviation_interval_and_cost(outputs):
    runs = three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    compared = compare([outputs], ["strategy"], "test/accuracy")
    (row,) = compared.rows
    assert row.group == ("scratch",)
    assert set(row.runs) == {run.name for run in runs}
    assert (row.n, row.mean, row.sd) == (3, pytest.approx(0.6), pytest.approx(0.1))
    assert (row.low, row.high) == (
        pytest.approx(0.6 - 0.1 * T2 / math.sqrt(3)),
        pytest.approx(0.6 + 0.1 * T2 / math.sqrt(3)),
    )
    assert row.cost == {
        "epochs": 10.0,
        "samples": 14_370,
        "seconds": 10.0,
        "flops": 1.5e12,
        "peak_memory": 512 * 1024**2,
        "trainable_parameters": 25_300,
    }
    assert (row.baseline, row.pairs, row.difference, row.p, row.best) == (None, None, None, None, False)
    assert compared.notices == []


def test_differences_are_paired_by_seed(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    three_seeds(outputs, "component", [0.51, 0.72, 0.63])  # +0.01, +0.02, +0.03: mean 0.02, sd 0.01
    base, row = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows
    assert (base.group, base.difference) == (("scratch",), None)
    assert (row.baseline, row.pairs, row.difference) == (("scratch",), 3, pytest.approx(0.02))
    assert row.difference_low == pytest.approx(0.02 - 0.01 * T2 / math.sqrt(3))
    t = 2 * math.sqrt(3)
    assert row.p == pytest.approx(1 - t / math.sqrt(2 + t * t)) == pytest.approx(0.0741799)
    assert not row.best


def test_without_pairs_the_groups_are_independent(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    three_seeds(outputs, "component", [0.51, 0.72, 0.63])
    _, row = compare([outputs], ["strategy"], "test/accuracy", "scratch").rows
    assert (row.pairs, row.difference) == (None, pytest.approx(0.02))
    assert row.p > 0.8


def test_without_a_baseline_the_first_group_is_paired_with_and_named(outputs):
    for strategy in ("scratch", "component"):
        finished(outputs, 0.5, strategy)
    comparison = compare([outputs], ["strategy"], "test/accuracy", paired=["seed"])
    assert [(row.group, row.baseline) for row in comparison.rows] == [
        (("component",), None),
        (("scratch",), ("component",)),
    ]
    assert (
        "--paired without --against: the baseline is the first group, component; --against GROUP chooses another"
        in comparison.notices
    )


def test_only_common_seeds_are_paired(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    finished(outputs, 0.71, "component", seed=2)
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    row = compared.rows[1]
    assert (row.n, row.pairs, row.difference, row.p) == (1, 1, pytest.approx(0.01), None)
    assert compared.notices == [
        "not every group has the same seed: component has 2; scratch has 0, 1, 2",
        "a single run, so no interval and no test: component",
    ]


def test_no_common_seed_no_difference(outputs):
    finished(outputs, 0.5, "scratch", seed=0)
    finished(outputs, 0.6, "component", seed=1)
    row = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows[1]
    assert (row.pairs, row.difference, row.p) == (0, None, None)


def test_p_is_corrected_over_the_rows(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    three_seeds(outputs, "component", [0.51, 0.72, 0.63])
    three_seeds(outputs, "frozen", [0.50, 0.71, 0.60])
    holm = {row.group[0]: row for row in compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows}
    assert holm["component"].p_adjusted == pytest.approx(2 * holm["component"].p)
    assert holm["frozen"].p_adjusted == pytest.approx(holm["frozen"].p)
    plain = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"], correct="none").rows
    assert [row.p_adjusted for row in plain] == [None, None, None]


def test_the_best_is_marked_if_its_lead_is_significant(outputs):
    three_seeds(outputs, "scratch", [0.500, 0.700, 0.600])
    three_seeds(outputs, "component", [0.550, 0.751, 0.649])
    three_seeds(outputs, "holistic", [0.540, 0.741, 0.639])
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert {row.group[0]: row.best for row in compared.rows} == {"scratch": False, "component": True, "holistic": False}
    lower = compare([outputs], ["strategy"], "test/loss", "scratch", ["seed"])  # 1 - accuracy
    assert lower.question.lower_is_better
    assert {row.group[0]: row.best for row in lower.rows} == {"scratch": False, "component": True, "holistic": False}


def test_intervals_end_at_the_bounds_of_the_metric(outputs):
    three_seeds(outputs, "scratch", [0.9, 1.0])
    three_seeds(outputs, "component", [0.1, 0.9])
    component, scratch = compare([outputs], ["strategy"], "test/accuracy", "scratch").rows[::-1]
    assert (component.low, component.high, scratch.high) == (0.0, 1.0, 1.0)
    assert (component.difference_low, component.difference_high) == (-1.0, 1.0)
    assert compare([outputs], ["strategy"], "test/loss").rows[0].low < 0  # a loss has no bounds


def test_the_test_and_the_interval_are_chosen(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    three_seeds(outputs, "component", [0.51, 0.72, 0.63])
    options = {"by": ["strategy"], "metric": "test/accuracy", "against": "scratch", "correct": "none"}
    signed = compare([outputs], **options, paired=["seed"], test="permutation")
    assert signed.rows[1].p == 0.25  # of 8 ways to set the signs, 2 are as extreme
    assert signed.notices == ["with 3 pairs p of the permutation test cannot be below 0.25"]
    # of 20 ways to order the six, the rank sum is as far from the middle in 14
    assert compare([outputs], **options, test="wilcoxon").rows[1].p == pytest.approx(0.7)


def test_the_smallest_p_that_so_few_runs_can_reach_is_told(outputs):
    for strategy in ("scratch", "component", "frozen", "holistic"):
        three_seeds(outputs, strategy, [0.50, 0.70, 0.60])
    options = {"by": ["strategy"], "metric": "test/accuracy", "against": "scratch", "test": "wilcoxon"}
    assert compare([outputs], **options).notices == ["with 3 and 3 runs p of the wilcoxon test cannot be below 0.1"]
    for strategy in ("scratch", "component", "frozen", "holistic"):
        for seed in (3, 4, 5):
            finished(outputs, 0.5 + seed / 100 + len(strategy) / 1000, strategy, seed)
    assert compare([outputs], **options).notices == []  # 3 tests of 6 and 6 runs: 3 * 2 / 924
    assert compare([outputs], **options, paired=["seed"]).notices == [
        "corrected over 3 tests, no p of the wilcoxon test can be below 0.09375"
    ]
    assert compare([outputs], **options, paired=["seed"], correct="bh").notices == []


def test_a_bootstrap_of_few_runs_is_refused(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    with pytest.raises(ConfigError) as raised:
        compare([outputs], ["strategy"], "test/accuracy", interval="bca")
    assert str(raised.value) == (
        "--interval bca: scratch has 3 runs; with fewer than 50 a 95 % bootstrap interval covers less than 93 %; "
        "use --interval t"
    )
    for seed in range(3, 50):
        finished(outputs, 0.5 + seed / 100, "scratch", seed)
    (row,) = compare([outputs], ["strategy"], "test/accuracy", interval="bca").rows
    assert 0.6 < row.low < row.mean < row.high < 0.9
