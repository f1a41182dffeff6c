"""mmrun options: shipped ones and those of the user."""

import json

import pytest

from mmrun import compose
from mmrun.cli import main
from mmrun.cli.options import list_groups, read_option

USER_FUSION = """\
# @package _global_
# Mine: wider
_target_: mmrun.models.fusions.simple.Concat
defaults:
  - /objective@stages.train.objective: task
  - _self_
dim: 512  # of the fused vector
lr: 1e-3
betas: [0.9, 0.999]
parts:
  - a
  - b  # the second
stages:
  train:
    rows: all   # and more
none: {}
"""


@pytest.fixture
def user_configs(tmp_path, monkeypatch):
    """./configs with a new fusion, and one that replaces a shipped one."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "concat"):
        file = tmp_path / "configs" / "fusion" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(USER_FUSION)


def test_groups_and_their_options(capsys):
    assert main(["options", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"dataset", "encoder.image", "fusion", "objective", "optimizer", "strategy", "trainer"} <= set(listed)
    for group, names in listed.items():
        assert names == compose.list_options(group.replace(".", "/"))


def test_every_option_has_a_description():
    for group in list_groups():
        for name in compose.list_options(group):
            assert read_option(group, name).about, f"configs/{group}/{name}.yaml has no first comment line"


def test_group_with_keys_and_values(capsys):
    assert main(["options", "optimizer"]) == 0
    out = capsys.readouterr().out
    assert "optimizer=adamw  AdamW (Loshchilov and Hutter, 2019)\n    lr: 1e-3\n" in out
    assert "_target_" not in out


@pytest.mark.parametrize("group", ["encoder/image", "encoder.image"])
def test_nested_group_by_either_spelling(capsys, group):
    assert main(["options", group, "--format", "json"]) == 0
    assert {option["group"] for option in json.loads(capsys.readouterr().out)} == {"encoder/image"}


def test_all_kinds_of_encoders(capsys):
    assert main(["options", "encoder", "--format", "json"]) == 0
    listed = {option["group"] for option in json.loads(capsys.readouterr().out)}
    assert listed == {group for group in list_groups() if group.startswith("encoder/")}


def test_user_options_are_marked(user_configs, capsys):
    assert main(["options", "fusion"]) == 0
    out = capsys.readouterr().out
    expected = """\
fusion=mine (yours)  Mine: wider
    stages.train.objective: task
    dim: 512                      of the fused vector
    lr: 1e-3
    betas: [0.9, 0.999]
    parts: [a, b]
    stages.train.rows: all        and more
    none: {}
"""
    assert expected in out
    assert "fusion=concat (yours)  Mine: wider\n" in out
    assert "fusion=gated  " in out


def test_invalid_yaml_is_named(user_configs, tmp_path, capsys):
    (tmp_path / "configs" / "fusion" / "mine.yaml").write_text("dim: [1")
    assert main(["options", "fusion"]) == 2
    assert capsys.readouterr().err.startswith(f"mmrun: {tmp_path}/configs/fusion/mine.yaml: not YAML: ")


def test_unknown_group(capsys):
    assert main(["options", "fusoin"]) == 2
    expected = f"mmrun: no group 'fusoin'; did you mean 'fusion'? (there are {', '.join(list_groups())})\n"
    assert capsys.readouterr().err == expected
