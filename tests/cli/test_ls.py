"""mmrun ls."""

import csv
import io
import json

import pytest

from mmrun.cli import main
from tests.results.fabricate import finished, started


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A finished run, a better one, a failed one and an active one."""
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    runs = {
        "good": finished(outputs, 0.875, seed=0),
        "better": finished(outputs, 0.9, seed=1),
        "failed": started(outputs, seed=2),
        "running": started(outputs, seed=3),
    }
    runs["failed"].status.write("failed", message="the loss is nan")
    runs["running"].status.write("running", "pretrain-image", step=30, progress=0.25)
    return runs


def test_one_line_per_run(runs, capsys):
    assert main(["ls"]) == 0
    out, err = capsys.readouterr()
    header, _, *lines = out.splitlines()
    assert header.split() == ["run", "status", "at", "test", "time", "age"]
    cells = [line.split() for line in lines]
    assert [line[:-2] for line in cells] == [
        [f"default/{runs['good'].name}", "finished", "accuracy", "0.8750", "10.0", "s"],
        [f"default/{runs['better'].name}", "finished", "accuracy", "0.9000", "10.0", "s"],
        [f"default/{runs['failed'].name}", "failed", "start", "0%", "-", "-"],
        [f"default/{runs['running'].name}", "running", "pretrain-image", "25%", "-", "-"],
    ]
    assert err == "4 runs below outputs: 1 failed, 2 finished, 1 running\n"


def test_json_and_csv_have_the_same_values(runs, capsys):
    assert main(["ls", "outputs/default", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {key: listed[0][key] for key in ("name", "status", "metric", "value", "seconds")} == {
        "name": runs["good"].name,
        "status": "finished",
        "metric": "accuracy",
        "value": 0.875,
        "seconds": 10.0,
    }
    assert main(["ls", "outputs/default", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["name"], row["value"]) for row in rows] == [
        (run["name"], "" if run["value"] is None else str(run["value"])) for run in listed
    ]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("name", ["good", "better", "failed", "running"]),
        ("status", ["failed", "good", "better", "running"]),
        ("value", ["better", "good", "failed", "running"]),
        ("seconds", ["good", "better", "failed", "running"]),
        ("age", ["running", "failed", "better", "good"]),
    ],
)
def test_orders(runs, capsys, order, names):
    assert main(["ls", "--sort", order, "--format", "json"]) == 0
    listed = [run["name"] for run in json.loads(capsys.readouterr().out)]
    assert listed == [f"default/{runs[name].name}" for name in names]


def test_empty_folder(tmp_path, capsys):
    assert main(["ls", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("", f"0 runs below {tmp_path}\n")


def test_missing_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["ls"]) == 2
    assert capsys.readouterr().err == (
        "mmrun: outputs: no such folder; runs are written below 'outputs' unless outputs= names another folder\n"
    )
