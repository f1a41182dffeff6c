"""Rows made from several rows of the data set are counted by stage, and are rows of training alone."""

import pytest

from mmrun import api
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import read_predictions


def train(tmp_path, strategy, *overrides):
    return api.train(
        *(
            "dataset=synthetic",
            "dataset.num_rows=200",
            "budget.steps=3",
            "trainer.batch_size=16",
            f"strategy={strategy}",
            *overrides,
        ),
        *(f"outputs={tmp_path}/runs", f"cache={tmp_path}/cache"),
    )


def read_rows(run, split):
    stored = read_predictions(RunFolder(run.path), split, "label")
    return list(stored.ids), stored.target.tolist()


@pytest.mark.parametrize(
    ("strategy", "fewest", "most"), [("scratch", 0, 0), ("mixup", 30, 48), ("modality_shuffle", 10, 48)]
)
def test_metrics_hold_their_number(tmp_path, strategy, fewest, most):
    metrics = train(tmp_path, strategy).metrics
    assert fewest <= metrics["cost"]["stages"]["train"]["synthetic_rows"] <= most
    assert metrics["cost"]["samples"] == 48


def test_validation_and_test_rows_are_those_of_the_data(tmp_path):
    plain, shuffled = (train(tmp_path, strategy) for strategy in ("scratch", "modality_shuffle"))
    assert plain.metrics["dataset"]["rows"] == shuffled.metrics["dataset"]["rows"]
    for split in ("val", "test"):
        ids, targets = zip(*(read_rows(run, split) for run in (plain, shuffled)), strict=True)
        assert ids[0] == ids[1]
        assert targets[0] == targets[1]
