"""Student's intervals and tests with answers that a table of t gives by hand."""

import math

import pytest

from mmrun.results.statistics import (
    estimate_difference,
    estimate_mean,
    estimate_paired_difference,
    holm,
    standard_deviation,
)

T2, T4 = 4.302652729911275, 2.7764451051977987  # 97.5 % quantiles of t with 2 and 4 degrees of freedom


def test_a_mean_and_its_interval():
    estimate = estimate_mean([1.0, 2.0, 3.0])  # sd 1, so half the interval is t(2) / sqrt(3)
    assert estimate.value == 2.0
    assert estimate.high == pytest.approx(2.0 + T2 / math.sqrt(3))
    assert estimate.low == pytest.approx(2.0 - T2 / math.sqrt(3))


def test_a_deviation_is_the_samples():
    assert standard_deviation([1.0, 2.0, 3.0]) == 1.0
    assert standard_deviation([1.0]) is None


def test_a_single_value_has_no_interval():
    assert estimate_mean([0.5]) == (0.5, None, None, None)


def test_equal_values_have_no_interval_though_rounding_differs():
    assert estimate_mean([0.1 + 0.2, 0.3, 0.3])[1:] == (None, None, None)


def test_a_paired_difference_uses_the_differences_alone():
    estimate = estimate_paired_difference(
        [11.0, 22.0, 33.0], [10.0, 20.0, 30.0]
    )  # differences 1, 2, 3: t = 2 sqrt(3), 2 degrees
    assert estimate.value == 2.0
    assert estimate.low == pytest.approx(2 - T2 / math.sqrt(3))
    # with 2 degrees of freedom the two-sided p of t has a closed form
    t = 2 * math.sqrt(3)
    assert estimate.p == pytest.approx(1 - t / math.sqrt(2 + t * t))


def test_a_paired_difference_without_spread_is_not_tested():
    assert estimate_paired_difference([0.9, 0.8], [0.8, 0.7]) == (pytest.approx(0.1), None, None, None)


def test_an_unpaired_difference_uses_welchs_test():
    # equal variances and sizes: Welch's degrees of freedom are 4, its standard error sqrt(1/3 + 1/3)
    estimate = estimate_difference([4.0, 5.0, 6.0], [1.0, 2.0, 3.0])
    assert estimate.value == 3.0
    assert estimate.low == pytest.approx(3 - T4 * math.sqrt(2 / 3))
    assert estimate.high == pytest.approx(3 + T4 * math.sqrt(2 / 3))
    # unequal variances, 1 and 25, n = 3: the degrees fall to (26/3)^2 / ((1/3)^2 / 2 + (25/3)^2 / 2) = 2.1597, so p
    # is 1 - the integral of that t density over -1.0190 .. 1.0190
    unequal = estimate_difference([4.0, 5.0, 6.0], [-3.0, 2.0, 7.0])
    assert unequal.p == pytest.approx(0.4085357001)


def test_an_unpaired_difference_needs_two_runs_in_each_group():
    assert estimate_difference([1.0], [2.0, 3.0]) == (-1.5, None, None, None)
    assert estimate_difference([1.0, 1.0], [2.0, 2.0]) == (-1.0, None, None, None)


def test_holm_multiplies_the_smallest_by_all_the_next_by_one_less():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.4]) == pytest.approx([0.8, 0.8])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_ties_do_not_make_a_rank_sum_too_significant():
    # of 20 ways to divide the six, the two most extreme are as far from the middle; an approximation gives 0.06
    assert estimate_difference([0.9, 0.9, 0.8], [0.7, 0.7, 0.6], "wilcoxon").p == pytest.approx(0.1)
