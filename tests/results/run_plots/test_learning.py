"""The learning curves of a run."""

import pytest

from mmrun.errors import DamagedError
from mmrun.results.run_plots.learning import plot_learning
from tests.results.fabricate import finished
from tests.results.run_plots.drawing import draw, list_legend


@pytest.fixture
def run(tmp_path):
    return finished(tmp_path, 0.875)


def log(run, stage, epochs, **values):
    run.log.append({"event": "evaluated", "stage": stage, "epochs": epochs, **values})


def test_each_stage_has_its_losses_and_the_metric(run):
    for epochs, loss in ((1.0, 0.5), (2.0, 0.25)):
        log(run, "pretrain", epochs, **{"train/loss": loss})
    for epochs, accuracy in ((0.5, 0.25), (1.0, 0.75)):
        log(run, "train", epochs, **{"train/loss": 1 - accuracy, "val/loss": 0.5, "val/accuracy": accuracy})
    log(run, "once", 1.0, **{"train/loss": 0.5})
    plots = plot_learning(run, "accuracy")
    assert [plot.name for plot in plots] == ["pretrain-loss", "train-loss", "train-accuracy"]
    (pretrain,) = draw(plots[0]).get_lines()
    assert pretrain.get_xydata().tolist() == [[1, 0.5], [2, 0.25]]
    assert list_legend(draw(plots[1])) == ["train", "val"]
    assert draw(plots[2]).get_lines()[0].get_xydata().tolist() == [[0.5, 0.25], [1, 0.75]]
    assert plots[2].alt == "Learning curves of stage train: val/accuracy from 0.2500 to 0.7500."


def test_values_that_are_not_numbers_are_left_out(run):
    for epochs, loss in ((1.0, 0.5), (2.0, None), (3.0, 10**400), ("4", 0.5), (5.0, 0.25)):
        log(run, "train", epochs, **{"train/loss": loss})
    (plot,) = plot_learning(run, None)
    assert draw(plot).get_lines()[0].get_xydata().tolist() == [[1, 0.5], [5, 0.25]]


def test_a_run_without_a_log_has_no_curves(run):
    assert plot_learning(run, "accuracy") == []


def test_a_damaged_log_is_an_error(run):
    run.log_file.write_text("not JSON\n")
    with pytest.raises(DamagedError, match=r"log\.jsonl:1: damaged"):
        plot_learning(run, "accuracy")
