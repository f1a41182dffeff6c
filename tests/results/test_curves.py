"""Where curves of made-up runs cross, each place worked out by hand."""

import math

import numpy as np
import pytest

from mmrun.errors import ConfigError
from mmrun.results import selection
from mmrun.results.compare import Question
from mmrun.results.curves import compare_across, find_sign_changes
from mmrun.results.tables import collect_notices
from tests.results.fabricate import finished

PAIRED = Question(against="scratch", paired=("seed",))


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


def curves(outputs, question=PAIRED, key="dataset.labelled"):
    runs, left_out = selection.read_finished([outputs])
    return compare_across(runs, question, key, left_out)


def four_seeds(outputs, strategy, labelled, accuracies):
    for seed, accuracy in enumerate(accuracies):
        finished(outputs, accuracy, strategy, seed, dataset__labelled=labelled)


def test_straight_lines_change_sign():
    axis = np.array([0.0, 1.0, 2.0, 3.0])
    assert find_sign_changes(np.array([-1.0, 3.0, 3.0, 2.0]), axis) == [(0.25, True)]
    assert find_sign_changes(np.array([1.0, -1.0, -1.0, 3.0]), axis) == [(0.5, False), (2.25, True)]
    assert find_sign_changes(np.array([-1.0, 0.0, 1.0, 1.0]), axis) == [(1.0, True)]
    assert find_sign_changes(np.array([-1.0, 0.0, 0.0, 1.0]), axis) == [(1.5, True)]
    assert find_sign_changes(np.array([1.0, 0.0, 1.0, 1.0]), axis) == []  # a touch
    assert find_sign_changes(np.array([0.0, 0.0, 1.0, 0.0]), axis) == []


def test_a_crossing_on_a_logarithmic_axis(outputs):
    for labelled, gain in ((0.01, 0.03), (1.0, -0.01)):  # 0 after three quarters of two decades
        four_seeds(outputs, "scratch", labelled, [0.5, 0.6, 0.7, 0.8])
        four_seeds(outputs, "component", labelled, [0.5 + gain, 0.6 + gain, 0.7 + gain, 0.8 + gain])
    result = curves(outputs)
    (crossing,) = result.crossings
    assert (result.values, result.logarithmic) == ([0.01, 1.0], True)
    assert (crossing.group, crossing.baseline, crossing.overtakes) == (("component",), ("scratch",), False)
    assert crossing.at == pytest.approx(10**-0.5)
    assert crossing.low == pytest.approx(10**-0.5)  # all seeds agree
    assert crossing.high == pytest.approx(10**-0.5)
    assert crossing.share == 1.0
    assert result.notices == []
    assert [compared.rows[1].difference for compared in result.comparisons] == pytest.approx([0.03, -0.01])


def test_seeds_that_disagree_widen_the_interval(outputs):
    for labelled in (0.5, 1.0):
        four_seeds(outputs, "scratch", labelled, [0.5, 0.5, 0.5, 0.5])
    four_seeds(outputs, "component", 0.5, [0.48, 0.49, 0.48, 0.49])
    four_seeds(outputs, "component", 1.0, [0.51, 0.53, 0.52, 0.51])  # the mean gain goes from -0.015 to 0.0175
    result = curves(outputs)
    (crossing,) = result.crossings
    assert (result.logarithmic, crossing.overtakes, crossing.share) == (False, True, 1.0)
    assert crossing.at == pytest.approx(0.5 + 0.5 * 0.015 / 0.0325)
    assert 0.5 + 0.5 * 0.01 / 0.04 <= crossing.low < crossing.at < crossing.high <= 0.5 + 0.5 * 0.02 / 0.03


def test_where_lower_is_better_the_group_that_falls_overtakes(outputs):
    for labelled, gain in ((0.5, -0.1), (1.0, 0.1)):  # of accuracy: the loss is what is left of 1
        four_seeds(outputs, "scratch", labelled, [0.5, 0.6])
        four_seeds(outputs, "component", labelled, [0.5 + gain, 0.6 + gain])
    question = Question(metric="test/loss", against="scratch", paired=("seed",))
    assert [crossing.overtakes for crossing in curves(outputs, question).crossings] == [True]


def test_without_a_crossing_the_share_of_resamples_that_cross_is_reported(outputs):
    for labelled in (0.5, 1.0):
        four_seeds(outputs, "scratch", labelled, [0.5, 0.5])
    four_seeds(outputs, "component", 0.5, [0.6, 0.6])
    four_seeds(outputs, "component", 1.0, [0.8, 0.45])  # only the second seed alone crosses: one draw of four
    (crossing,) = curves(outputs).crossings
    assert (crossing.at, crossing.low, crossing.overtakes) == (None, None, None)
    assert crossing.share == pytest.approx(0.25, abs=0.03)


def test_without_common_seeds_there_is_no_interval(outputs):
    for labelled, accuracy in ((0.5, 0.4), (1.0, 0.6)):
        finished(outputs, 0.5, "scratch", 0, dataset__labelled=labelled)
        finished(outputs, accuracy, "component", 1, dataset__labelled=labelled)
    result = curves(outputs)
    (crossing,) = result.crossings
    assert (crossing.at, crossing.low, crossing.share) == (pytest.approx(0.75), None, None)
    assert result.notices == ["component and scratch share 0 seed at every value: a crossing has no interval"]
    assert collect_notices(result)[1].startswith("dataset.labelled=0.5: not every group has the same seed")


def test_several_runs_of_one_seed_are_not_paired(outputs):
    for labelled in (0.5, 1.0):
        four_seeds(outputs, "scratch", labelled, [0.5, 0.6])
        for dim in (64, 128):
            for seed in range(2):
                gain = dim / 640 if labelled == 1.0 else -0.1
                finished(outputs, 0.55 + gain, "component", seed, dataset__labelled=labelled, fusion__dim=dim)
    result = curves(outputs, Question(against="scratch"))
    assert result.crossings[0].at == pytest.approx(0.5 + 0.5 * 0.1 / 0.25)  # the mean gain goes from -0.1 to 0.15
    assert result.notices == ["component and scratch share 0 seed at every value: a crossing has no interval"]


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
    four_seeds(outputs, "scratch", 1.0, [0.5])
    with pytest.raises(
        ConfigError, match=r"^--curve-over dataset: 'digits' is not a number; use --rank-over for values without order$"
    ):
        curves(outputs, key="dataset")


def test_without_a_baseline_nothing_crosses(outputs):
    for labelled in (0.5, 1.0):
        four_seeds(outputs, "scratch", labelled, [0.5, 0.6])
    result = curves(outputs, Question())
    assert (result.crossings, len(result.comparisons)) == ([], 2)
    assert math.isclose(result.comparisons[0].rows[0].mean, 0.55)
