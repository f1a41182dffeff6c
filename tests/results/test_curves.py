"""Where curves of made-up runs cross, each place worked out by hand."""

import math

import numpy as np
import pytest

from mmrun.errors import ConfigError
from mmrun.results import selection
from mmrun.results.compare import Question
from mmrun.results.comparison_tables import collect_notices
from mmrun.results.curves import compare_across, compute_crossing_interval, find_crossing_spans, locate_crossing
from tests.results.fabricate import finished

PAIRED = Question(against="scratch", paired=("seed",))


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


def curves(outputs, question=PAIRED, key="dataset.labelled"):
    runs, left_out = selection.read_finished([outputs])
    return compare_across(runs, question, key, left_out)


def write_seeds(outputs, strategy, labelled, accuracies, **changes):
    for seed, accuracy in enumerate(accuracies):
        finished(outputs, accuracy, strategy, seed, dataset__labelled=labelled, **changes)


def write_curve(outputs, gains, noise=(-0.002, -0.001, 0.0, 0.001, 0.002), **changes):
    """Write runs of two strategies at each labelled share; the gains of the seeds differ by the noise."""
    for labelled, gain in gains.items():
        write_seeds(outputs, "scratch", labelled, [0.5 + seed / 20 for seed in range(len(noise))])
        gained = [0.5 + seed / 20 + gain + of_seed for seed, of_seed in enumerate(noise)]
        write_seeds(outputs, "component", labelled, gained, **changes)


def test_straight_lines_cross_zero():
    axis = np.array([0.0, 1.0, 2.0, 3.0])
    assert locate_crossing(np.array([-1.0, 3.0, 3.0, 2.0]), axis) == 0.25
    assert locate_crossing(np.array([-1.0, 0.0, 1.0, 1.0]), axis) == 1.0
    assert locate_crossing(np.array([-1.0, 0.0, 0.0, 1.0]), axis) == 1.5
    assert locate_crossing(np.array([1.0, -1.0, 1.0, -1.0]), axis) == 1.5  # the middle of 0.5, 1.5 and 2.5


def test_significant_points_of_opposite_signs_enclose_a_crossing():
    assert find_crossing_spans([-1, 0, 0, 1, 1]) == [(0, 3)]
    assert find_crossing_spans([1, -1, -1, 1]) == [(0, 1), (2, 3)]
    assert find_crossing_spans([0, 1, 0, 1]) == []
    assert find_crossing_spans([0, 0]) == []


def test_the_interval_of_a_crossing_is_that_of_fieller():
    # the differences go from -1 to 1 with a deviation of 0.1 everywhere: |2x - 1| <= t 0.1 / sqrt(3)
    deviations = 0.1 * np.array([-1.0, 0.0, 1.0])
    low, high = compute_crossing_interval(np.stack([deviations - 1, deviations + 1], axis=1), np.array([0.0, 1.0]))
    half = 4.302652729911275 * 0.1 / math.sqrt(3) / 2
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.002)
    # where all seeds cross at one place, it is the interval
    places = compute_crossing_interval(np.array([[-1.0, 3.0], [-1.1, 3.3], [-1.2, 3.6]]), np.array([0.0, 1.0]))
    assert places == pytest.approx((0.25, 0.25), abs=0.002)


def test_a_crossing_on_a_logarithmic_axis(outputs):
    write_curve(outputs, {0.01: 0.03, 1.0: -0.01})  # 0 after three quarters of two decades
    result = curves(outputs)
    (crossing,) = result.crossings
    assert (result.values, result.logarithmic) == ([0.01, 1.0], True)
    assert (crossing.group, crossing.baseline, crossing.overtakes) == (("component",), ("scratch",), False)
    assert (crossing.left, crossing.right) == (0.01, 1.0)
    assert crossing.at == pytest.approx(10**-0.5)
    half = 2.7764451 * 0.0015811388 / math.sqrt(5) / 0.04 * 2  # in decades: the difference falls by 0.04 in two
    assert crossing.low == pytest.approx(10 ** (-0.5 - half), rel=0.02)
    assert crossing.high == pytest.approx(10 ** (-0.5 + half), rel=0.02)
    assert result.notices == []
    assert [compared.rows[1].difference for compared in result.comparisons] == pytest.approx([0.03, -0.01])


def test_a_change_of_sign_alone_shows_no_crossing(outputs):
    write_curve(outputs, {0.5: -0.02, 1.0: 0.001})  # the second is not significant
    (crossing,) = curves(outputs).crossings
    assert (crossing.at, crossing.left, crossing.low, crossing.overtakes) == (None, None, None, None)


def test_points_between_may_be_undecided(outputs):
    write_curve(outputs, {0.25: -0.02, 0.5: 0.0005, 0.75: -0.0005, 1.0: 0.02})
    (crossing,) = curves(outputs).crossings
    assert (crossing.left, crossing.right, crossing.overtakes) == (0.25, 1.0, True)
    assert crossing.low < 0.5 < 0.75 < crossing.high


def test_all_values_are_one_family(outputs):
    write_curve(outputs, {0.2: -0.02, 1.0: 0.00265})  # t = 3.75 with 4 degrees of freedom: p = 0.0200
    first, second = (compared.rows[1] for compared in curves(outputs).comparisons)
    assert (second.p, second.p_adjusted) == (pytest.approx(0.02, abs=1e-4), pytest.approx(second.p))
    assert first.p < 0.001
    assert len(curves(outputs).crossings) == 1
    write_curve(outputs, {0.4: 0.0, 0.6: 0.0001, 0.8: 0.0})
    result = curves(outputs)
    assert result.comparisons[4].rows[1].p_adjusted == pytest.approx(4 * second.p)  # the second smallest of five
    assert (result.crossings[0].at, result.comparisons[0].tests) == (None, 5)
    uncorrected = curves(outputs, Question(against="scratch", paired=("seed",), correct="none"))
    assert uncorrected.comparisons[4].rows[1].p_adjusted is None
    assert uncorrected.crossings[0].at is None  # whatever the correction of the table


def test_where_lower_is_better_the_group_that_falls_overtakes(outputs):
    write_curve(outputs, {0.5: -0.1, 1.0: 0.1})  # of accuracy: the loss is what is left of 1
    question = Question(metric="test/loss", against="scratch", paired=("seed",))
    assert [crossing.overtakes for crossing in curves(outputs, question).crossings] == [True]


def test_few_seeds_have_no_interval(outputs):
    write_curve(outputs, {0.5: -0.1, 1.0: 0.1}, noise=(-0.001, 0.0, 0.001))
    result = curves(outputs)
    (crossing,) = result.crossings
    assert (crossing.at, crossing.low, crossing.high) == (pytest.approx(0.75), None, None)
    assert result.notices == [
        "component and scratch: an interval of their crossing needs the same seed at every value, at least 5"
    ]


def test_groups_without_common_seeds_have_no_interval(outputs):
    for labelled, gain in ((0.5, -0.1), (1.0, 0.1)):
        for seed in range(6):
            noise = seed % 3 / 1000
            finished(outputs, 0.5 + noise, "scratch", seed, dataset__labelled=labelled)
            finished(outputs, 0.5 + gain + noise, "component", seed + 6, dataset__labelled=labelled)
    result = curves(outputs, Question(against="scratch"))
    (crossing,) = result.crossings
    assert (crossing.at, crossing.low) == (pytest.approx(0.75), None)
    assert len(result.notices) == 1
    assert collect_notices(result)[1].startswith("dataset.labelled=0.5: not every group has the same seed")


def test_values_on_unequal_terms_show_no_crossing(outputs):
    write_curve(outputs, {0.5: -0.1, 1.0: 0.1}, fusion__dim=64)
    result = curves(outputs)
    assert [compared.rows[1].unmatched for compared in result.comparisons] == [("fusion.dim",)] * 2
    assert result.crossings[0].at is None


def test_what_changes_along_the_axis_besides_its_key_is_named(outputs):
    for labelled, gain, lr in ((0.5, -0.1, 0.1), (1.0, 0.1, 0.01)):
        for strategy, of_group in (("scratch", 0.0), ("component", gain)):
            accuracies = [0.5 + of_group + seed / 1000 for seed in range(5)]
            write_seeds(outputs, strategy, labelled, accuracies, optimizer={"lr": lr})
    result = curves(outputs)
    assert (result.crossings[0].at, result.crossings[0].unmatched) == (None, ("optimizer.lr",))
    assert result.notices == [
        "along dataset.labelled: optimizer.lr is neither group nor pairing and differs between compared runs: "
        "0.01 (n=10), 0.1 (n=10); fix it with --where, or add it to --by"
    ]


def test_the_size_of_the_model_is_an_axis(outputs):
    for seed, dim in enumerate((64, 128)):
        for strategy in ("scratch", "component"):
            finished(outputs, 0.5, strategy, seed, encoder__image__dim=dim)
    assert curves(outputs, key="encoder.image.dim").values == [64.0, 128.0]
    with pytest.raises(
        ConfigError, match=r"^--curve-over cost.total_parameters: all runs have 25300; a curve needs two "
    ):
        curves(outputs, key="cost.total_parameters")


def test_an_axis_needs_numbers(outputs):
    write_seeds(outputs, "scratch", 1.0, [0.5])
    with pytest.raises(
        ConfigError, match=r"^--curve-over dataset: 'digits' is not a number; use --rank-over for values without order$"
    ):
        curves(outputs, key="dataset")


def test_without_a_baseline_nothing_crosses(outputs):
    for labelled in (0.5, 1.0):
        write_seeds(outputs, "scratch", labelled, [0.5, 0.6])
    result = curves(outputs, Question())
    assert (result.crossings, len(result.comparisons)) == ([], 2)
    assert math.isclose(result.comparisons[0].rows[0].mean, 0.55)
