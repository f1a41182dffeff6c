"""The contract checks of tasks find what breaks the contract."""

import numpy as np
import pytest

from mmrun.tasks.regression import Regression
from mmrun.testing.tasks import CHECKS, TARGETS, check_hidden, check_loss, check_mean, check_metrics, kinds_of


class CountsHidden(Regression):
    def loss(self, output, target):
        return output.square().mean()


class Sum(Regression):
    def loss(self, output, target):
        return super().loss(output, target) * (~target.isnan()).sum()


class Nameless(Regression):
    def metrics(self, scores, target):
        metrics = super().metrics(scores, target)
        return {**metrics, "badness": 1.0} if metrics else {}


class Whole(Regression):
    def metrics(self, scores, target):
        return {name: np.float32(value) for name, value in super().metrics(scores, target).items()}


class Ours(Regression):
    """Extends a task and changes nothing."""


def build(task):
    return lambda name, target, rows: task(name, **task.fit(target, rows))


def test_a_task_serves_the_kind_that_it_extends():
    assert kinds_of(Ours) == ["regression"]
    assert kinds_of(int) == []


def test_a_task_of_ours_passes():
    for check in CHECKS:
        check(build(Ours), TARGETS["regression"])


@pytest.mark.parametrize(
    ("task", "check", "problem"),
    [
        (CountsHidden, check_loss, "a hidden row has a gradient"),
        (CountsHidden, check_hidden, "the loss is "),
        (Sum, check_mean, "the loss of a batch is "),
        (Nameless, check_metrics, "badness: end its name in _loss, _error or _score"),
        (Whole, check_metrics, "mse is float32, not a float"),
    ],
)
def test_a_broken_task_is_found(task, check, problem):
    with pytest.raises(AssertionError) as caught:
        check(build(task), TARGETS["regression"])
    assert str(caught.value).startswith(problem)
