"""Which rows of a file are explained one by one, and in which order."""

import numpy as np
import pytest

from mmrun.deploy.explain.file import choose_rows, describe_scores, describe_truth
from mmrun.deploy.explain.target import ExplainedTarget
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression
from mmrun.types import IGNORE_INDEX

CLASSES = ExplainedTarget(Classification("label", ["a", "b"], np.array([1, 1])))
LABELS = ExplainedTarget(Multilabel("tags", ["x", "y"]))
NUMBERS = ExplainedTarget(Regression("age", ["age"], np.zeros(1), np.ones(1)))
SCORES = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])


def test_confident_errors_come_first_and_rows_without_a_target_last():
    order, phrase = choose_rows(CLASSES, SCORES, np.array([0, IGNORE_INDEX, 0, 1]))
    assert order.tolist() == [2, 3, 0, 1]  # an error; right and unsure; right and sure; unknown
    assert phrase == "the most confident errors first, then the least confident of the other rows"


def test_without_targets_sure_and_unsure_rows_take_turns():
    assert choose_rows(CLASSES, SCORES, None)[0].tolist() == [0, 1, 2, 3]


def test_the_largest_errors_of_numbers_and_labels_come_first():
    assert choose_rows(NUMBERS, np.array([[1.0], [2.0], [9.0]]), np.array([1.5, 7.0, np.nan]))[0].tolist() == [1, 0, 2]
    truth = np.array([[1.0, 0.0], [np.nan, 1.0], [0.0, 0.0], [0.0, 1.0]])
    assert choose_rows(LABELS, SCORES, truth)[0].tolist() == [2, 1, 3, 0]


@pytest.mark.parametrize(
    ("target", "scores", "truth", "texts"),
    [
        (CLASSES, [0.2, 0.8], 0, ("b", "a")),
        (LABELS, [0.6, 0.8], [0, 1], ("x|y", "y")),
        (NUMBERS, [3.14159], 3.0, ("3.142", "3")),
    ],
)
def test_predictions_and_targets_as_text(target, scores, truth, texts):
    assert (describe_scores(target, np.array(scores)), describe_truth(target, np.array(truth))) == texts


def test_the_explained_output():
    assert CLASSES.choose_outputs(SCORES).tolist() == [0, 0, 1, 1]
    assert NUMBERS.choose_outputs(SCORES).tolist() == [0, 0, 0, 0]
    assert ExplainedTarget(CLASSES.task, output=1).choose_outputs(SCORES).tolist() == [1, 1, 1, 1]
