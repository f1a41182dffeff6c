"""mmrun diff."""

import json

import pytest

from mmrun.cli import main
from mmrun.results.files import write_json
from tests.results.fabricate import finished, started


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def with_environment(run, commit="a1", torch="2.15"):
    git = {"commit": commit, "changed": False}
    write_json(run.environment_file, {"python": "3.11", "versions": {"torch": torch}, "git": git, "threads": 1})
    return run.name


def diff(capsys, *words):
    assert main(["diff", *words]) == 0
    return capsys.readouterr().out


def test_only_differences_are_shown(outputs, capsys):
    a = with_environment(finished(outputs, 0.875, seed=0))
    b = with_environment(
        finished(outputs, 0.9, strategy="component", seed=0, fusion__dim=64), commit="b2", torch="2.16"
    )
    differences = json.loads(diff(capsys, a, b, "--format", "json"))
    assert differences["config"] == {
        "strategy": ["scratch", "component"],
        "fusion.dim": [128, 64],
        "strategy.stages.pretrain.train": [None, ["encoder.{modality}"]],
        "strategy.stages.pretrain.share": [None, 1.0],
    }
    assert differences["code"] == {"commit": ["a1", "b2"]}
    assert differences["data"] == {}
    assert differences["environment"] == {"versions.torch": ["2.15", "2.16"]}
    assert differences["metrics"]["test/accuracy"] == [0.875, 0.9]
    assert differences["cost"]["steps"] == [230, 230]

    lines = [line.split() for line in diff(capsys, a, b).splitlines()]
    assert lines[3:8] == [
        ["config", "a", "->", "b"],
        lines[4],
        ["strategy", "scratch", "->", "component"],
        ["fusion.dim", "128", "->", "64"],
        [],
    ]
    assert lines[8] == ["2", "keys", "below", "these", "choices", "differ", "too;", "--all", "shows", "them"]
    assert ["data:", "the", "same"] in lines
    assert ["versions.torch", "2.15", "->", "2.16"] in lines
    assert ["test/accuracy", "0.8750", "0.9000", "0.0250"] in lines
    assert ["steps", "230", "230", "0"] in lines
    lines = [line.split() for line in diff(capsys, a, b, "--all").splitlines()]
    assert ["strategy.stages.pretrain.train", "-", "->", "[encoder.{modality}]"] in lines


def test_a_key_below_a_choice_stays_if_it_was_typed(outputs, capsys):
    a = finished(outputs, 0.875, seed=0)
    b = finished(outputs, 0.9, strategy="component", seed=0)
    b.write_request(b.read_config(), ["strategy=component", "strategy.stages.pretrain.share=1"])
    lines = [line.split() for line in diff(capsys, a.name, b.name).splitlines()]
    assert ["strategy.stages.pretrain.share", "-", "->", "1"] in lines
    assert ["1", "key", "below", "these", "choices", "differ", "too;", "--all", "shows", "them"] in lines


def test_csv_has_a_row_for_each_value(outputs, capsys):
    a, b = finished(outputs, 0.875, seed=0), finished(outputs, 0.9, seed=1)
    lines = diff(capsys, a.name, b.name, "--format", "csv").splitlines()
    assert lines[:2] == ["part,key,a,b", "config,seed,0,1"]
    assert "metrics,test/accuracy,0.875,0.9" in lines


def test_unfinished_run_has_only_config_and_environment(outputs, capsys):
    a, b = with_environment(finished(outputs, 0.875, seed=0)), with_environment(started(outputs, seed=1))
    lines = diff(capsys, a, b).splitlines()
    assert [line.split() for line in lines if line.startswith("seed")] == [["seed", "0", "->", "1"]]
    assert "environment: the same" in lines
    assert "data: not yet known for both runs" in lines
