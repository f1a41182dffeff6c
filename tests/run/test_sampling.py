"""Which rows a stage's batches have, by its keys."""

import numpy as np
import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.run.build_stage import build_stage
from mmrun.run.pipeline import run
from mmrun.run.stage_reuse import stage_key
from mmrun.training.callback import NullCallback

STAGE = "strategy.stages.train"


def test_every_batch_has_its_share_of_labelled_rows(open_run):
    session = open_run("strategy=fixmatch", "dataset.labelled=0.25", f"{STAGE}.labelled_share=0.5")
    batches = build_stage(session, session.stages["train"]).batches
    for step in range(6):
        assert (batches.batch(step).targets["label"] >= 0).sum() == 8  # of 16


def test_every_batch_is_balanced(open_run):
    session = open_run(f"{STAGE}.balanced_batches=true")
    batches = build_stage(session, session.stages["train"]).batches
    for step in range(6):
        assert torch.bincount(batches.batch(step).targets["label"]).tolist() == [8, 8]


def test_labelled_rows_of_a_mixture_are_balanced_too(open_run):
    session = open_run(
        "strategy=fixmatch", "dataset.labelled=0.5", f"{STAGE}.labelled_share=0.5", f"{STAGE}.balanced_batches=true"
    )
    target = build_stage(session, session.stages["train"]).batches.batch(2).targets["label"]
    assert torch.bincount(target[target >= 0]).tolist() == [4, 4]


def test_where_every_row_is_labelled_a_share_changes_nothing(open_run):
    session = open_run("strategy=fixmatch")
    batches = build_stage(session, session.stages["train"]).batches
    rows = np.concatenate([batches.batch(step).index.numpy() for step in range(3)])
    assert sorted(rows) == sorted(session.data.rows["all"])


def test_the_order_is_part_of_the_key_of_a_result(open_run):
    keys = []
    for name, overrides in (("first", []), ("second", [f"{STAGE}.balanced_batches=true"])):
        session = open_run(*overrides, name=name)
        keys.append(stage_key(session, build_stage(session, session.stages["train"])))
    assert keys[0] != keys[1]


def test_a_balanced_run_trains_to_its_end(load):
    metrics = run(load(f"{STAGE}.balanced_batches=true"), NullCallback()).read_metrics()
    assert metrics["cost"]["stages"]["train"]["steps"] == 6


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [f"{STAGE}.rows=all", "dataset.labelled=0.5", f"{STAGE}.balanced_batches=true"],
            f"{STAGE}.balanced_batches: rows=all has rows whose class is not known; "
            f"set {STAGE}.rows=labelled, or {STAGE}.labelled_share=0.5 with rows=all",
        ),
        ([f"{STAGE}.labelled_share=0.5"], f"{STAGE}.labelled_share: needs rows=all, not labelled"),
        (
            [f"{STAGE}.balanced_batches=true", "trainer.group_by_length=true"],
            f"{STAGE}.balanced_batches: cannot be combined with trainer.group_by_length; drop one of the two",
        ),
    ],
)
def test_what_does_not_fit_is_refused(open_run, overrides, message):
    with pytest.raises(ConfigError) as caught:
        open_run(*overrides)
    assert str(caught.value) == message
