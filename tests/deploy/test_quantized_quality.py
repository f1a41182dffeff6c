"""What 8 bits cost and gain."""

import numpy as np
import pytest

from mmrun.deploy.latency import measure_latencies
from mmrun.deploy.quantized_quality import find_drop, measure_change
from mmrun.tasks.classification import Classification
from mmrun.types import IGNORE_INDEX


def one_hot(*classes):
    return np.eye(2)[list(classes)]


def test_the_metric_of_rows_with_a_target_is_compared():
    task = Classification("label", ["cat", "dog"], np.array([1, 1]))
    target = np.array([0, 1, 0, 1, IGNORE_INDEX])
    change = measure_change(task, one_hot(0, 1, 0, 1, 0), one_hot(0, 1, 0, 0, 1), target)
    assert (change["metric"], change["rows"]) == ("accuracy", 4)
    assert (change["before"], change["after"], change["difference"]) == (1.0, 0.75, -0.25)
    assert change["low"] == -0.75
    assert change["high"] == 0.0
    assert find_drop({"label": change}) == ("label", 0.25)


def test_equal_predictions_have_an_interval_of_zero():
    task = Classification("label", ["cat", "dog"], np.array([1, 1]))
    scores = one_hot(0, 1, 1)
    change = measure_change(task, scores, scores, np.array([0, 1, 0]))
    assert (change["difference"], change["low"], change["high"]) == (0.0, 0.0, 0.0)


def test_a_task_without_a_visible_target_has_no_metric():
    task = Classification("label", ["cat", "dog"], np.array([1, 1]))
    assert measure_change(task, one_hot(0), one_hot(1), np.array([IGNORE_INDEX])) is None


@pytest.mark.parametrize(("metric", "drop"), [("accuracy", -0.1), ("mse", 0.1)])
def test_a_drop_is_a_change_for_the_worse(metric, drop):
    assert find_drop({"y": {"metric": metric, "difference": 0.1}}) == ("y", drop)


def test_the_task_that_drops_most_is_named():
    changes = {"a": {"metric": "accuracy", "difference": -0.1}, "b": {"metric": "r2", "difference": -0.2}}
    assert find_drop(changes) == ("b", 0.2)


def test_calls_are_timed_in_turns():
    order = []
    latencies = measure_latencies({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, num_blocks=2)
    assert "".join(order) == "a" * 5 + "b" * 5 + ("a" * 10 + "b" * 10) * 2
    assert 0 <= latencies["a"].p50 <= latencies["a"].p99
