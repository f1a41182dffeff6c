import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.head import FUSED, Head, metric_name
from mmrun.run import metrics


@pytest.mark.parametrize(
    ("head", "num_tasks", "name"),
    [
        (FUSED, 1, "accuracy"),
        (Head("image"), 1, "accuracy/image"),
        (FUSED, 2, "label.accuracy"),
        (Head("image"), 2, "label.accuracy/image"),
    ],
)
def test_a_metric_names_its_task_and_probe_where_there_are_several(head, num_tasks, name):
    assert metric_name("accuracy", "label", head, num_tasks) == name


@pytest.mark.parametrize(
    ("metric", "expected"), [("accuracy", True), ("nll", False), ("accuracy/image", True), ("age.mae", False)]
)
def test_the_direction_of_a_metric_goes_by_its_own_name(metric, expected):
    assert metrics.higher_is_better(metric) is expected


def test_an_unknown_metric_is_rejected():
    with pytest.raises(ConfigError, match=r"no metric 'acuracy' \(there are loss, accuracy, "):
        metrics.higher_is_better("acuracy")


def test_the_monitored_value_is_the_mean():
    assert metrics.monitored_value({"a": 0.25, "b": 0.75, "c": 9.0}, ["a", "b"], "strategy.stages.train") == 0.5
    with pytest.raises(ConfigError, match=r"strategy.stages.train.monitor: no metric 'd' \(there are a\)"):
        metrics.monitored_value({"a": 0.25}, ["d"], "strategy.stages.train")


def test_perfect_outputs_have_perfect_metrics(open_run):
    session = open_run()
    targets = {"label": torch.tensor([0, 1, 1])}
    outputs = {FUSED: {"label": torch.nn.functional.one_hot(targets["label"], 4) * 100.0}}
    computed = metrics.compute_metrics(session, outputs, targets)
    assert computed["accuracy"] == 1.0
    assert metrics.primary_metrics(session, [FUSED, Head("a")]) == ["accuracy", "accuracy/a"]
