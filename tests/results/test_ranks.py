"""Ranks over made-up data sets. The published examples stand in test_published.py."""

import pytest

from mmrun.errors import ConfigError
from mmrun.results import selection
from mmrun.results.compare import Question
from mmrun.results.ranks import rank
from tests.results.fabricate import finished

STRATEGIES = ("component", "holistic", "scratch")


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


def on(outputs, dataset, **accuracies):
    for strategy, accuracy in accuracies.items():
        choices = {"dataset": dataset, "strategy": strategy, "fusion": "concat", "encoder.image": "cnn"}
        finished(outputs, accuracy, strategy, choices=choices, dataset={"labelled": 1.0, "name": dataset})


def ranking(outputs, **options):
    runs, notices = selection.read_finished([outputs])
    return rank(runs, Question(**options), ["dataset"], notices)


def test_the_better_have_the_lower_rank(outputs):
    for number in range(10):
        on(outputs, f"set{number}", component=0.8, holistic=0.7, scratch=0.6 + 0.2 * (number == 0))  # one tie
    result = ranking(outputs)
    assert result.groups == [("component",), ("holistic",), ("scratch",)]
    assert result.ranks == pytest.approx([1.05, 2.1, 2.85])
    assert (result.test, len(result.blocks)) == ("friedman", 10)
    assert result.p < 0.001
    assert result.critical == pytest.approx(2.344 * (3 * 4 / (6 * 10)) ** 0.5, abs=1e-3)  # 1.048
    assert result.apart == [(("component",), ("holistic",)), (("component",), ("scratch",))]
    assert result.means[0] == pytest.approx([0.8, 0.7, 0.8])
    assert result.notices == []


def test_lower_is_better_reverses_the_ranks(outputs):
    for number in range(3):
        on(outputs, f"set{number}", component=0.8, holistic=0.7, scratch=0.6)
    assert ranking(outputs, metric="test/loss").groups == [("component",), ("holistic",), ("scratch",)]
    result = ranking(outputs)
    assert result.notices == ["the Friedman test approximates its p-value, which needs about 10 data sets; there are 3"]


def test_two_groups_are_tested_by_signed_ranks(outputs):
    for number in range(6):
        on(outputs, f"set{number}", component=0.8 + number / 100, scratch=0.7)
    result = ranking(outputs)
    assert (result.test, result.p, result.critical) == ("wilcoxon", 2 / 2**6, None)
    assert result.apart == [(("component",), ("scratch",))]


def test_no_pair_differs_if_the_test_is_not_significant(outputs):
    for number in range(4):
        better = 0.8 if number % 2 else 0.6
        on(outputs, f"set{number}", component=better, holistic=0.7, scratch=1.4 - better)
    result = ranking(outputs)
    assert (result.ranks, result.p, result.apart) == ([2.0, 2.0, 2.0], 1.0, [])


def test_ties_everywhere_are_not_tested(outputs):
    for number in range(3):
        on(outputs, f"set{number}", component=0.7, holistic=0.7, scratch=0.7)
    assert (ranking(outputs).statistic, ranking(outputs).p) == (None, None)


def test_an_incomplete_data_set_is_left_out_with_a_notice(outputs):
    for number in range(2):
        on(outputs, f"set{number}", component=0.8, holistic=0.7, scratch=0.6)
    on(outputs, "set2", component=0.8)
    result = ranking(outputs)
    assert result.blocks == [("set0",), ("set1",)]
    assert result.notices[0] == "set2 is left out: not every group has runs on it"


def test_a_ranking_needs_two_data_sets(outputs):
    on(outputs, "set0", component=0.8, scratch=0.6)
    with pytest.raises(ConfigError) as raised:
        ranking(outputs)
    assert str(raised.value) == (
        "--rank-over dataset: 2 groups complete on 1 values of dataset; a ranking needs two of each"
    )


def test_groups_on_unequal_terms_are_not_ranked(outputs):
    for number in range(6):
        on(outputs, f"set{number}", component=0.8 + number / 100, scratch=0.7)
    finished(outputs, 0.8, "component", 1, choices={"dataset": "set0", "strategy": "component"}, optimizer={"lr": 9})
    finished(outputs, 0.8, "scratch", 1, choices={"dataset": "set0", "strategy": "scratch"}, trainer__precision="x")
    result = ranking(outputs)
    assert (result.unmatched, result.apart) == (["precision", "optimizer.lr"], [])
    assert result.notices[:2] == [
        "set0: precision differs between compared runs: fp32 (n=3), x (n=1)",
        "set0: optimizer.lr is neither group nor pairing and differs between compared runs: 9 (n=1), none (n=3); "
        "fix it with --where, or add it to --by",
    ]


def test_data_sets_may_differ_in_what_their_runs_share(outputs):
    for number, labelled in enumerate((0.1, 0.1, 0.5, 0.5, 1.0, 1.0)):
        for strategy, accuracy in (("component", 0.8 + number / 100), ("scratch", 0.7)):
            choices = {"dataset": f"set{number}", "strategy": strategy, "fusion": "concat", "encoder.image": "cnn"}
            dataset = {"labelled": labelled, "name": number}
            finished(outputs, accuracy, strategy, choices=choices, dataset=dataset, optimizer={"lr": number})
    assert ranking(outputs).apart == [(("component",), ("scratch",))]
    assert ranking(outputs).unmatched == []
