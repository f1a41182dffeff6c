"""All plots of a run, from its folder."""

import numpy as np
import pytest

from mmrun.errors import DamagedError, DataError
from mmrun.results.predictions import write_predictions
from mmrun.results.run_plots.collect import plot_run
from tests.results.fabricate import detail, finished, rewrite

CLASSES = {"cat": {"f1": 0.5}, "dog": {"f1": 0.5}}


@pytest.fixture
def run(tmp_path):
    return detail(finished(tmp_path, 0.75))


def replace_predictions(run, target, scores, per_class):
    rows = [f"row{row}" for row in range(len(target))]
    write_predictions(run, "test", rows, {"label": np.array(target)}, {"label": np.array(scores)})
    rewrite(run, per_class={"test": {"label": per_class}})


def test_splits_tasks_and_stages_are_in_the_names(run):
    plots, notes = plot_run(run)
    assert [plot.name for plot in plots] == [
        *("test-label-roc", "test-label-precision-recall", "test-label-confusion", "test-label-reliability"),
        *("learning-train-loss", "learning-train-accuracy"),
    ]
    assert notes == []


def test_a_regression_is_recognised_by_its_metrics(run):
    replace_predictions(run, [1.0, 2.0], [[1.5], [2.0]], {"label": {"mae": 0.25}})
    assert [plot.name for plot in plot_run(run).plots[:2]] == ["test-label-predicted", "test-label-residuals"]


@pytest.mark.parametrize(
    ("target", "scores"),
    [
        ([0, 2], [[0.9, 0.1], [0.9, 0.1]]),  # a class that is not there
        ([0, 1], [[0.9, 0.1, 0.0], [0.9, 0.1, 0.0]]),
        ([[0.0], [1.0]], [[0.9, 0.1], [0.9, 0.1]]),
        (["a", "b"], [[0.9, 0.1], [0.9, 0.1]]),
    ],
)
def test_predictions_that_do_not_fit_are_not_plotted(run, target, scores):
    replace_predictions(run, target, scores, CLASSES)
    plots, notes = plot_run(run)
    assert [plot.name for plot in plots] == ["learning-train-loss", "learning-train-accuracy"]
    assert notes == ["label (test): no plots, the predictions are not those of classes, labels or numbers"]


def test_predictions_without_metrics_are_damaged(run):
    rewrite(run, per_class={"test": {"other": CLASSES}})
    with pytest.raises(DamagedError, match=r"metrics\.json: damaged, test has predictions but no metrics of label"):
        plot_run(run)


def test_a_run_that_only_pretrains_has_learning_curves(run):
    rewrite(run, primary_head=None, per_class={}, metrics={})
    assert [plot.name for plot in plot_run(run).plots] == ["learning-train-loss"]


def test_nothing_to_plot_is_an_error(run):
    rewrite(run, primary_head=None, per_class={}, metrics={})
    run.log_file.unlink()
    with pytest.raises(DataError, match="nothing to plot: neither predictions nor learning curves are stored"):
        plot_run(run)
