"""Ways to combine members, each where it must win or where its answer is known."""

import numpy as np
import pytest

from mmrun.errors import ConfigError
from mmrun.evaluation.ensemble import METHODS, fit_average, fit_boost, fit_greedy, fit_stack, fit_vote
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression

PETS = Classification("pet", ["cat", "dog", "owl"], np.ones(3))
TAGS = Multilabel("tags", ["red", "big"])
PRICE = Regression("price", ["price"], np.zeros(1), np.ones(1))


def members(target, rights, seed=0):
    """Members that are right on so many rows, by independent chance: [M, N, 3]."""
    rng = np.random.default_rng(seed)
    scores = []
    for right in rights:
        wrong = (target + rng.integers(1, 3, len(target))) % 3
        chosen = np.where(rng.random(len(target)) < right, target, wrong)
        sure = rng.uniform(0.4, 0.8, (len(target), 1))
        scores.append(np.where(np.eye(3)[chosen] > 0, sure, (1 - sure) / 2))
    return np.stack(scores)


def accuracy(scores, target):
    return float((scores.argmax(-1) == target).mean())


@pytest.fixture
def target():
    return np.random.default_rng(9).integers(0, 3, 3000)


def test_average_and_vote_on_a_row_where_they_differ():
    one_row = np.array([[[0.9, 0.1, 0.0]], [[0.4, 0.6, 0.0]], [[0.4, 0.6, 0.0]]])
    target = np.array([0])
    assert fit_average(one_row, target, PETS)(one_row).argmax(-1).tolist() == [0]  # mean 0.57, 0.43
    assert fit_vote(one_row, target, PETS)(one_row).argmax(-1).tolist() == [1]  # two of three


def test_a_tie_of_votes_is_decided_by_probability():
    two = np.array([[[0.9, 0.1, 0.0]], [[0.2, 0.8, 0.0]]])
    assert fit_vote(two, np.array([1]), PETS)(two).argmax(-1).tolist() == [0]


def test_votes_of_labels_and_numbers():
    labels = np.array([[[0.9, 0.2]], [[0.6, 0.4]], [[0.1, 0.3]]])
    assert (fit_vote(labels, np.array([[1.0, 0.0]]), TAGS)(labels) >= 0.5).tolist() == [[True, False]]
    numbers = np.array([[[1.0]], [[2.0]], [[30.0]]])
    assert fit_vote(numbers, np.array([2.0]), PRICE)(numbers).tolist() == [[2.0]]


@pytest.mark.parametrize("name", METHODS)
def test_independent_members_are_better_together(name, target):
    scores = members(target, [0.6] * 5)
    combine = METHODS[name](scores[:, :1500], target[:1500], PETS)
    together = combine(scores[:, 1500:])
    assert together.shape == (1500, 3)
    assert np.allclose(together.sum(-1), 1)
    assert accuracy(together, target[1500:]) > 0.72  # one alone: 0.6


@pytest.mark.parametrize("name", ["greedy", "stack", "boost"])
def test_what_is_fitted_finds_the_member_that_knows(name, target):
    scores = members(target, [0.95, 0.34, 0.34, 0.34, 0.34, 0.34])
    combine = METHODS[name](scores[:, :1500], target[:1500], PETS)
    assert accuracy(combine(scores[:, 1500:]), target[1500:]) > 0.93
    assert accuracy(fit_average(scores, target, PETS)(scores), target) < 0.9


def test_greedy_takes_the_best_alone_where_others_only_harm(target):
    scores = members(target, [1.0, 0.1])
    assert np.allclose(fit_greedy(scores, target, PETS)(scores), scores[0])


def test_boost_weighs_as_samme_does():
    """Two members, one wrong on 1 of 4 rows, the other on 2: alpha = log((1 - e) / e) + log(C - 1)."""
    target = np.array([0, 0, 1, 2])
    one, two = np.eye(3)[[0, 0, 1, 0]], np.eye(3)[[0, 1, 0, 2]]
    scores = np.stack([one, two])
    first = np.log(3) + np.log(2)
    weights = np.array([1, 1, 1, 6.0]) / 9  # the row that the first got wrong counts six times
    second = np.log((1 - weights[1:3].sum()) / weights[1:3].sum()) + np.log(2)
    combined = fit_boost(scores, target, PETS)(scores)
    assert np.allclose(combined, (first * one + second * two) / (first + second))


def test_boosting_numbers_is_refused():
    with pytest.raises(ConfigError) as caught:
        fit_boost(np.zeros((2, 3, 1)), np.zeros(3), PRICE)
    assert str(caught.value) == "--method boost: needs a classification task; average, greedy and stack do not"


def test_a_stack_of_numbers_unmixes_them():
    rng = np.random.default_rng(0)
    price, noise = rng.normal(size=(2, 400))
    scores = np.stack([price + noise, price - noise])[..., None]
    combined = fit_stack(scores[:, :200], price[:200], PRICE)(scores[:, 200:])
    assert np.abs(combined[:, 0] - price[200:]).max() < 0.01


def test_a_stack_of_labels():
    rng = np.random.default_rng(0)
    truth = rng.random((400, 2)) < 0.5
    turned = np.where(truth, 0.2, 0.8)  # a member that says the opposite, always
    scores = np.stack([turned, rng.random((400, 2))])
    combined = fit_stack(scores[:, :200], truth[:200].astype(float), TAGS)(scores[:, 200:])
    assert ((combined >= 0.5) == truth[200:]).mean() == 1


def test_hidden_targets_and_classes_that_validation_lacks(target):
    scores = members(target, [0.9, 0.8])
    seen = np.where(target == 2, -100, target)
    combined = fit_stack(scores, seen, PETS)(scores)
    assert combined.shape == (3000, 3)
    assert combined[:, 2].max() == 0
