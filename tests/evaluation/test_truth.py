"""Measured contributions are within 0.05 of the truth on rows with known redundant, unique and synergetic shares."""

import pytest

from benchmarks.contribution import dataset, truth
from mmrun.evaluation import evaluate
from mmrun.evaluation.contribution import shapley_values
from tests.evaluation.conftest import train

CASES = {
    "mixed": ((0.25, 0.5, 0.25, 2), {"a": 0.25, "b": 0.25}, 0.25),
    "uneven": ((0.3, 0.7, 0.0, 3), {"single": 0.1917, "pair": 0.3083, "chance": 0.0}, 0.1167),
}


@pytest.mark.parametrize("name", CASES)
def test_shapley_values_and_synergy_gap_are_true(name, tmp_path):
    mix, shapley, gap = CASES[name]
    assert shapley_values(truth(name, mix), list(shapley)) == pytest.approx(shapley, abs=1e-4)
    overrides = ["strategy=modality_dropout", "budget.epochs=4", "optimizer.lr=5e-3"]
    evaluation = evaluate(train(tmp_path, *overrides, *dataset(name, mix, 4000, tmp_path)))
    assert evaluation["saw_missing"]
    assert evaluation["shapley"]["accuracy"]["absent"] == pytest.approx(shapley, abs=0.05)
    assert evaluation["synergy"]["accuracy"]["gap"] == pytest.approx(gap, abs=0.05)
    for subset in evaluation["missing"]["absent"]:
        assert subset["metrics"]["accuracy"] == pytest.approx(truth(name, mix)[tuple(subset["present"])], abs=0.05)
