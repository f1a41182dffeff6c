"""The hash of a config, and the run folder that it names."""

from pathlib import Path

import pytest

from mmrun.results.identity import config_hash, run_folder_path
from tests.results.fabricate import config


def test_a_run_folder_is_named_after_its_config():
    resolved = config("component", seed=3)
    assert run_folder_path(resolved) == Path("outputs/default") / f"digits-component-s3-{config_hash(resolved)}"
    assert len(config_hash(resolved)) == 8


def test_keys_that_cannot_change_the_result_do_not_change_the_hash():
    alike = config(
        outputs="elsewhere",
        experiment="ablation",
        cache="/tmp",
        cache_limit=1.0,
        tag=["pilot"],
        note="a first try",
        choices={"dataset": "digits", "strategy": "mine"},
        trainer__progress=False,
        callbacks={"tensorboard": {"_target_": "mmrun.run.callbacks.Tracker", "name": "tensorboard"}},
        trainer__save_every=1.0,
    )
    assert config_hash(alike) == config_hash(config())


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"fusion__dim": 64}, {"budget__epochs": 11.0}, {"trainer__precision": "bf16"}, {"strategy": "other"}],
)
def test_keys_that_can_change_the_result_change_the_hash(change):
    assert config_hash(config(**change)) != config_hash(config())


def test_the_order_of_keys_does_not_change_the_hash():
    assert config_hash(dict(reversed(config().items()))) == config_hash(config())
