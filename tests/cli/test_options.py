"""mmrun options: shipped ones and those of the user."""

import json
import sys

import pytest

from mmrun import compose
from mmrun.cli import main
from mmrun.cli.options import list_groups, read_option, spell

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


def rows_of(capsys, *words):
    assert main(["options", *words]) == 0
    return [line.split("   ") for line in capsys.readouterr().out.splitlines()]


def test_groups_are_sorted_by_purpose(capsys):
    rows = [[cell.strip() for cell in row if cell.strip()] for row in rows_of(capsys)]
    assert rows[2] == ["data", "dataset", "avdigits, digits, easy_vqa, manifest, synthetic"]
    assert rows[3] == ["augment", "light, none, strong, trivial"]
    assert rows[4] == ["augment.audio", "light, specaugment, strong"]
    assert rows[11][:2] == ["model", "model"]
    assert rows[12][0] == "encoder.audio"


def test_options_of_a_group_take_a_line_each(capsys):
    rows = rows_of(capsys, "optimizer")
    assert [row[0].strip() for row in rows[2:5]] == ["adam", "adamw", "sgd"]
    assert ["mmrun options optimizer=NAME shows the keys of one"] in rows


@pytest.mark.parametrize("words", [["optimizer=adamw"], ["optimizer", "adamw"]])
def test_keys_stand_behind_a_name(capsys, words):
    rows = rows_of(capsys, *words)
    assert rows[0] == ["optimizer=adamw  AdamW (Loshchilov and Hutter, 2019)"]
    assert [row[0].strip() for row in rows[4:]] == ["lr", "weight_decay", "betas", "eps", "fused"]
    assert [cell.strip() for cell in rows[4] if cell.strip()] == ["lr", "1e-3"]


@pytest.mark.parametrize("group", ["encoder/image", "encoder.image"])
def test_nested_group_by_either_spelling(capsys, group):
    assert main(["options", group, "--format", "json"]) == 0
    assert {option["group"] for option in json.loads(capsys.readouterr().out)} == {"encoder.image"}


def test_all_kinds_of_encoders(capsys):
    assert main(["options", "encoder", "--format", "json"]) == 0
    listed = {option["group"] for option in json.loads(capsys.readouterr().out)}
    assert listed == {spell(group) for group in list_groups() if group.startswith("encoder/")}


def test_user_options_are_marked(user_configs, capsys):
    assert main(["options", "fusion"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "mine (yours) Mine: wider" in lines
    assert "concat (yours) Mine: wider" in lines
    assert any(line.startswith("gated Gated") for line in lines)


def test_keys_of_a_user_option(user_configs, capsys):
    assert main(["options", "fusion=mine"]) == 0
    title, empty, _, _, *lines = capsys.readouterr().out.splitlines()
    assert (title, empty) == ("fusion=mine (yours)  Mine: wider", "")
    assert lines == [
        "stages.train.objective   task",
        "dim                      512            of the fused vector",
        "lr                       1e-3",
        "betas                    [0.9, 0.999]",
        "parts                    [a, b]",
        "stages.train.rows        all            and more",
        "none                     {}",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gated"], "no group 'gated', but an option: mmrun options fusion=gated"),
        (["optimizer=adm"], "optimizer: no option 'adm'; did you mean 'adam'? (there are adam, adamw, sgd)"),
    ],
)
def test_unknown_names(capsys, words, message):
    assert main(["options", *words]) == 2
    assert capsys.readouterr().err == f"mmrun: {message}\n"


def test_invalid_yaml_is_named(user_configs, tmp_path, capsys):
    (tmp_path / "configs" / "fusion" / "mine.yaml").write_text("dim: [1")
    assert main(["options", "fusion"]) == 2
    assert capsys.readouterr().err.startswith(f"mmrun: {tmp_path}/configs/fusion/mine.yaml: not YAML: ")


def test_unknown_group(capsys):
    assert main(["options", "fusoin"]) == 2
    expected = f"mmrun: no group 'fusoin'; did you mean 'fusion'? (there are {', '.join(map(spell, list_groups()))})\n"
    assert capsys.readouterr().err == expected


def test_the_options_of_an_allowed_package_are_listed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMRUN_ALLOW", "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "parts_with_options" / "configs" / "fusion"
    folder.mkdir(parents=True)
    (tmp_path / "parts_with_options" / "__init__.py").touch()
    (folder / "theirs.yaml").write_text("# Theirs\n_target_: parts_with_options.fusion.Theirs\ndim: 3\n")
    assert main(["options", "fusion=theirs", "--allow", "parts_with_options", "--format", "json"]) == 0
    option = json.loads(capsys.readouterr().out)
    assert (option["about"], option["keys"]) == ("Theirs", [{"name": "dim", "value": "3", "comment": ""}])
