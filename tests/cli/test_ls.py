"""mmrun ls."""

import csv
import io
import json
import os
import time
from pathlib import Path

import pytest

from mmrun.cli import main
from mmrun.cli.ls import _build_table
from mmrun.results.listing import list_runs
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
    now = time.time()
    for age, run in enumerate(reversed(runs.values())):
        for file in run.path.iterdir():
            os.utime(file, (now - age, now - age))
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


def test_overrides_that_vary_are_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    few = finished(outputs, 0.5, dataset__labelled=0.1)
    few.write_request(few.read_config(), ["dataset.labelled=0.1", "fusion=concat", "seed=0"])
    finished(outputs, 0.75, seed=1)
    assert main(["ls"]) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "status", "at", "test", "dataset.labelled", "time", "age"]
    assert sorted(line.split()[4] for line in lines) == ["0.1", "1"]


def test_where_and_limit(runs, capsys):
    assert main(["ls", "--where", "status=failed,running", "--sort", "status", "--limit", "1"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[1] for line in out.splitlines()[2:]] == ["failed"]
    assert err == "2 runs below outputs: 1 failed, 1 running; the first 1 are shown\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", "0"], "argument --limit: 0 is not a whole number of at least 1 (see `mmrun ls -h`)"),
        (["--where", "seed=9"], "--where: no run has seed=9 (there are 0, 1, 2, 3)"),
        (["--where", "seed"], "--where seed: not of the form key=value"),
        (
            ["--where", "seed=0", "--where", "seed=1"],
            "--where: two conditions on seed, 0 and 1; seed=0,1 accepts either",
        ),
        (["--watch", "--limit", "1"], "--watch: shows a table of all runs; drop --where, --limit and --format"),
    ],
)
def test_bad_arguments(runs, capsys, words, message):
    assert main(["ls", *words]) == 2
    assert capsys.readouterr().err == f"mmrun: {message}\n"


def test_tags_and_notes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first = finished(tmp_path / "outputs", 0.5, tag=["pilot", "v2"], note="a first try")
    second = finished(tmp_path / "outputs", 0.5, seed=1, tag="v2")
    assert main(["ls", "--where", "tag=pilot", "--format", "json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["tags"]) == (f"default/{first.name}", ["pilot", "v2"])
    assert main(["note", second.name, "the", "second"]) == 0
    assert main(["ls"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["run", "note"] in lines
    assert [f"default/{first.name}", "a", "first", "try"] in lines
    assert [f"default/{second.name}", "the", "second"] in lines


def test_the_best_value_and_failures_are_coloured(runs):
    table = _build_table(list_runs(Path("outputs")), [])
    assert table.styles == {(1, 3): "best", (2, 1): "failed"}


def test_a_damaged_config_of_an_unfinished_run_is_a_line(runs, capsys):
    runs["running"].config_file.write_text("choices: 3\n")
    assert main(["ls", "--where", "status=damaged"]) == 0
    assert "config.yaml: choices: expected a mapping" in capsys.readouterr().out


def test_quiet_prints_results_only(runs, capsys):
    assert main(["ls", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 6
    assert err == ""
