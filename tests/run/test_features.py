import numpy as np
import pytest

from mmrun.run.build_stage import build_stage
from mmrun.run.features import read_features, replaceable_features, rows_read
from mmrun.training import device

FROZEN = ("strategy=frozen", "budget.steps=20")


def test_a_stage_with_frozen_encoders_reads_features(open_run):
    session = open_run(*FROZEN)
    built = build_stage(session, session.stages["train"])
    batches = []
    session, reading = read_features(session, built, lambda: batches.append(1))
    assert set(reading.batches.batch(0).inputs["a"]) == {"pooled"}
    assert reading.feature_cost.modalities == ["a", "b"]
    assert reading.feature_cost.rows == len(session.data.rows["labelled"])
    assert 0 < reading.flops_per_step < built.flops_per_step
    assert batches


@pytest.mark.parametrize("override", ["strategy=scratch", "trainer.cache_features=false", "budget.steps=2"])
def test_features_are_not_read_where_that_cannot_pay(open_run, override):
    session = open_run(*FROZEN, override)
    built = build_stage(session, session.stages["train"])
    assert replaceable_features(session, built, built.batches.batch(0)) == {}


def test_rows_of_training_and_validation_are_read_once(open_run):
    session = open_run(*FROZEN)
    rows = rows_read(session, session.stages["train"])
    assert np.array_equal(rows, np.unique(rows))
    assert set(rows) == {*session.data.rows["labelled"], *session.data.rows["val"]}


def test_features_of_another_model_of_gpu_are_not_read(open_run, monkeypatch, tmp_path):
    for model in ("NVIDIA H100", "NVIDIA A100"):
        monkeypatch.setattr(device, "model_name", lambda _, model=model: model)
        session = open_run(*FROZEN, name=model)
        read_features(session, build_stage(session, session.stages["train"]), lambda: None)
    assert len(list((tmp_path / "cache" / "features").glob("*/"))) == 4  # of two modalities each
