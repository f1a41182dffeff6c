"""Effect sizes, worked out by hand; published examples stand in test_published.py."""

import math

import pytest

from mmrun.results.effects import probability_of_improvement
from tests.results.compared import compare, three_seeds
from tests.results.compared import outputs as outputs


def test_a_row_has_effect_improvement_and_detectable_difference(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    three_seeds(outputs, "component", [0.51, 0.72, 0.63])
    row = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows[1]
    assert row.effect == pytest.approx(2 * math.sqrt(1 / math.pi))  # d_z is 2; J of 2 degrees is 1 / sqrt(pi)
    assert row.improvement.value == pytest.approx(6 / 9)
    assert row.detectable == pytest.approx(0.01 * 3.2640435498)


def test_a_win_rate_has_newcombes_interval():
    # of 5 and 5 runs that are all better: 1 - p = 1.96 sqrt(p (1 - p) (1 + 4 ((1 - p) / (2 - p) + p / (1 + p))) / 25)
    certain = probability_of_improvement([6.0, 7.0, 8.0, 9.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0], lower_is_better=False)
    p = certain.low
    spread = 1 + 4 * ((1 - p) / (2 - p) + p / (1 + p))
    assert 1 - p == pytest.approx(1.959964 * math.sqrt(p * (1 - p) * spread / 25))
    assert (round(p, 3), certain.value, certain.high) == (0.643, 1.0, 1.0)
    worse = probability_of_improvement([6.0, 7.0, 8.0, 9.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0], lower_is_better=True)
    assert (worse.low, worse.value, worse.high) == (0.0, 0.0, pytest.approx(1 - p))


def test_a_win_rate_of_few_or_paired_runs_has_no_interval():
    few = probability_of_improvement([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0], lower_is_better=False)
    assert (few.value, few.low, few.high) == (0.4, None, None)
    paired = probability_of_improvement([1.0] * 5, [2.0] * 5, lower_is_better=True, paired=True)
    assert (paired.value, paired.low) == (1.0, None)
