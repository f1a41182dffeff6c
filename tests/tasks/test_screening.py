"""Sensitivity at a fixed specificity, on a few rows by hand."""

import numpy as np
import pytest

from mmrun.compose import load
from mmrun.errors import ConfigError
from mmrun.tasks.screening import Screening
from mmrun.testing import tasks as contract

ILL = np.array([0.9, 0.8, 0.55, 0.3])  # scores of four ill rows ...
WELL = np.array([0.7, 0.6, 0.4, 0.2, 0.1])  # ... and of five well ones
SCORES = np.stack([np.append(ILL, WELL), 1 - np.append(ILL, WELL)], axis=1)
TARGET = np.array([0] * 4 + [1] * 5)


def build(specificity, positive="ill"):
    return Screening("label", ["ill", "well"], np.array([4, 5]), positive, specificity)


@pytest.mark.parametrize(
    ("specificity", "sensitivity"),
    [
        (1.0, 2 / 4),  # above 0.7
        (0.8, 2 / 4),  # above 0.6: one of five well rows, and no more ill ones
        (0.6, 3 / 4),  # above 0.4: two of five
        (0.2, 4 / 4),
    ],
)
def test_the_threshold_leaves_enough_negative_rows_below(specificity, sensitivity):
    assert build(specificity).metrics(SCORES, TARGET)["sensitivity_at_specificity"] == sensitivity


def test_equal_scores_are_on_one_side_of_the_threshold():
    scores = np.full((9, 2), 0.5)
    assert build(0.9).metrics(scores, TARGET)["sensitivity_at_specificity"] == 0.0


def test_hidden_rows_and_splits_of_one_class():
    hidden = np.where(np.arange(9) == 4, -100, TARGET)  # the well row at 0.7
    assert build(1.0).metrics(SCORES, hidden)["sensitivity_at_specificity"] == 2 / 4  # above 0.6
    assert "sensitivity_at_specificity" not in build(0.9).metrics(SCORES[:4], TARGET[:4])


def test_it_is_no_metric_of_the_evaluations_during_training():
    assert "sensitivity_at_specificity" not in build(0.9).quick_metrics(SCORES, TARGET)


def test_the_class_to_detect_must_be_named():
    with pytest.raises(ConfigError) as unset:
        build(0.9, positive=None)
    assert str(unset.value) == "tasks.label.positive: is not set; name the class to detect (ill, well)"
    with pytest.raises(ConfigError) as misspelt:
        build(0.9, positive="il")
    assert str(misspelt.value) == "tasks.label.positive: no class 'il'; did you mean 'ill'? (there are ill, well)"


def test_it_is_chosen_by_its_target():
    config = load(["tasks.label=screening", "tasks.label.positive=ill"])
    assert config.tasks["label"] == {
        "_target_": "mmrun.tasks.screening.Screening",
        "positive": "ill",
        "specificity": 0.9,
    }


@pytest.mark.parametrize("check", contract.CHECKS)
def test_contract(check):
    check(
        lambda name, target, rows: Screening(name, target.names, np.ones(3), "dog"), contract.TARGETS["classification"]
    )
