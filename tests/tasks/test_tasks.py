import numpy as np
import pytest

from mmrun.data.table import Target
from mmrun.errors import DataError
from mmrun.tasks import TASKS, for_target
from mmrun.tasks.metrics import METRICS

TARGETS = {
    "classification": Target("classification", np.array([0, 1, -100, 1]), ["cat", "dog"]),
    "ordinal": Target("ordinal", np.array([0, 1, -100, 1]), ["young", "old"]),
    "multilabel": Target("multilabel", np.array([[1, 0], [0, 1], [np.nan, 1], [1, 1]]), ["cat", "dog"]),
    "regression": Target("regression", np.array([1.0, 2.0, np.nan, 4.0]), ["years"]),
}


@pytest.mark.parametrize("kind", TASKS)
def test_every_kind_of_target_has_its_task(kind):
    task = for_target("pet", TARGETS[kind], np.array([0, 1]))
    assert task.name == "pet"
    assert task.num_outputs == len(TARGETS[kind].names)
    assert task.primary_metric in METRICS
    assert list(task.per_class(np.ones((4, task.num_outputs)), TARGETS[kind].values)) == TARGETS[kind].names


def test_class_weights_come_from_the_training_rows_alone():
    task = for_target("pet", TARGETS["classification"], np.array([0, 1, 2]))
    assert task.class_weights.tolist() == [1.0, 1.0]


def test_a_target_that_no_training_row_has_is_refused():
    with pytest.raises(DataError) as caught:
        for_target("pet", TARGETS["classification"], np.array([2]))
    assert str(caught.value) == "target 'pet': no labelled training row has a class; label some, or drop the target"
    with pytest.raises(DataError) as caught:
        for_target("pet", TARGETS["multilabel"], np.array([2]))
    expected = "target 'pet': no labelled training row has a value of 'cat'; label some, or drop the target"
    assert str(caught.value) == expected
