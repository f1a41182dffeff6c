import os
from dataclasses import make_dataclass

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from mmrun import compose, hydra_internals
from mmrun.config import config_dir


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["strategy=component", "fusion=gated", "fusion.dim=8", "+optimizer.amsgrad=true", "~optimizer.eps"],
        ["+encoder/image@encoder.image=resnet18", "encoder.image.pretrained=false", "balance=agm", "seed=3"],
        ["strategy=component", "++strategy.stages.pretrain.lr_scale={encoder: 0.1}", "callbacks=[tensorboard]"],
        ["experiment=avdigits", "optimizer.lr=0.5"],
    ],
)
def test_composing_equals_hydra(overrides):
    compose.load([])  # registers the schema
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        expected = hydra_compose("train", overrides=overrides)
    config, _ = hydra_internals.compose("train", overrides, config_dir())
    assert OmegaConf.to_container(config) == OmegaConf.to_container(expected)


def test_a_changed_yaml_file_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(hydra_internals.UserConfigs, "folders", [tmp_path])
    file = tmp_path / "optimizer" / "sgd.yaml"
    file.parent.mkdir()
    file.write_text("_target_: torch.optim.SGD\nlr: 0.125\n")
    assert compose.load(["optimizer=sgd"]).optimizer["lr"] == 0.125
    file.write_text("_target_: torch.optim.SGD\nlr: 0.25\n")
    os.utime(file, ns=(1, 1))
    assert compose.load(["optimizer=sgd"]).optimizer["lr"] == 0.25


def test_runs_that_share_a_composition_do_not_share_values():
    first = compose.load(["fusion.dim=8"])
    first.fusion["dim"] = 9
    assert compose.load([]).fusion["dim"] == 128


def test_a_copy_is_equal_and_changes_nothing_else():
    config = OmegaConf.create({"budget": {"steps": 1}, "total": "${budget.steps}"})
    original = hydra_internals.Original(config)
    copied = original.copy()
    copied.budget.steps = 2
    assert (copied.total, original.copy().total, config.total) == (2, 1, 1)


def test_classes_without_a_module_are_shared_by_copies():
    kind = make_dataclass("Keys", [("steps", int)])
    original = hydra_internals.Original({"kind": kind})
    assert original.copy()["kind"] is kind
