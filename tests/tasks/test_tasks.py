from typing import Any

import numpy as np
import pytest

from mmrun.data.table import Target
from mmrun.errors import ConfigError, DataError
from mmrun.known_metrics import METRICS
from mmrun.tasks import TASKS, build_task
from mmrun.tasks.regression import Regression
from mmrun.testing import tasks as contract

TARGETS = {
    "classification": Target("classification", np.array([0, 1, -100, 1]), ["cat", "dog"]),
    "ordinal": Target("ordinal", np.array([0, 1, -100, 1]), ["young", "old"]),
    "multilabel": Target("multilabel", np.array([[1, 0], [0, 1], [np.nan, 1], [1, 1]]), ["cat", "dog"]),
    "regression": Target("regression", np.array([1.0, 2.0, np.nan, 4.0]), ["years"]),
}


@pytest.mark.parametrize("kind", TASKS)
def test_every_kind_of_target_has_its_task(kind):
    task = build_task("pet", TARGETS[kind], np.array([0, 1]))
    assert task.name == "pet"
    assert task.num_outputs == len(TARGETS[kind].names)
    assert task.primary_metric in METRICS
    assert list(task.per_class(np.ones((4, task.num_outputs)), TARGETS[kind].values)) == TARGETS[kind].names


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("check", contract.CHECKS)
def test_contract(check, kind):
    check(build_task, contract.TARGETS[kind])


def test_a_task_of_the_users_own_extends_the_task_of_the_targets_kind():
    class Scaled(Regression):
        def __init__(self, name, outputs, mean, std, factor):
            super().__init__(name, outputs, mean, std)
            self.factor = factor

    task: Any = build_task("pet", TARGETS["regression"], np.array([0, 1]), lambda fitted: Scaled(**fitted, factor=2))
    assert (task.factor, task.mean.tolist()) == (2, [1.5])
    with pytest.raises(ConfigError) as raised:
        build_task("pet", TARGETS["multilabel"], np.array([0, 1]), lambda fitted: task)
    assert str(raised.value) == (
        "tasks.pet: Scaled does not extend mmrun.tasks.multilabel.Multilabel, as a task for a target of multilabel must"
    )


def test_class_weights_come_from_the_training_rows_alone():
    task: Any = build_task("pet", TARGETS["classification"], np.array([0, 1, 2]))
    assert task.class_weights.tolist() == [1.0, 1.0]


def test_a_target_that_no_training_row_has_is_refused():
    with pytest.raises(DataError) as caught:
        build_task("pet", TARGETS["classification"], np.array([2]))
    assert str(caught.value) == "target 'pet': no labelled training row has a class; label some, or drop the target"
    with pytest.raises(DataError) as caught:
        build_task("pet", TARGETS["multilabel"], np.array([2]))
    expected = "target 'pet': no labelled training row has a value of 'cat'; label some, or drop the target"
    assert str(caught.value) == expected
