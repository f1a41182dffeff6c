"""On rows whose redundant, unique and synergetic shares are known, the measure is within 0.05 of the truth."""

import pytest

from benchmarks.contribution import dataset, truth
from mmrun.evaluation import evaluate
from mmrun.evaluation.contribution import shapley
from tests.evaluation.conftest import train

CASES = {
    "mixed": ((0.25, 0.5, 0.25, 2), {"a": 0.25, "b": 0.25}, 0.25),
    "uneven": ((0.3, 0.7, 0.0, 3), {"single": 0.1917, "pair": 0.3083, "chance": 0.0}, 0.1167),
}


@pytest.mark.parametrize("name", CASES)
def test_shapley_values_and_synergy_gap_are_true(name, tmp_path):
    mix, worth, gap = CASES[name]
    assert shapley(truth(name, mix), list(worth)) == pytest.approx(worth, abs=1e-4)
    words = ["strategy=modality_dropout", "budget.epochs=4", "optimizer.lr=5e-3"]
    found = evaluate(train(tmp_path, *words, *dataset(name, mix, 4000, tmp_path)))
    assert found["saw_missing"]
    assert found["shapley"]["accuracy"]["absent"] == pytest.approx(worth, abs=0.05)
    assert found["synergy"]["accuracy"]["gap"] == pytest.approx(gap, abs=0.05)
    for one in found["missing"]["absent"]:
        assert one["metrics"]["accuracy"] == pytest.approx(truth(name, mix)[tuple(one["present"])], abs=0.05)
