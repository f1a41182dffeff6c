"""Finds runs, resolves their names, and determines their status."""

import time

import pytest

from mmrun.errors import ConfigError
from mmrun.results.files import read_json, write_json
from mmrun.results.index import SILENT_AFTER, determine_status, find_primary_metric, find_runs, read_summary, resolve
from tests.results.fabricate import config, finished, metrics, started


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def test_runs_are_found_at_any_depth_except_in_a_run_or_a_hidden_folder(outputs):
    first, second = started(outputs, seed=0), started(outputs, seed=1, experiment="a/b")
    (first.path / "copy").mkdir()
    (first.path / "copy" / "config.yaml").touch()
    (outputs / ".sweeps" / "0").mkdir(parents=True)
    (outputs / ".sweeps" / "0" / "config.yaml").touch()
    assert [run.path for run in find_runs(outputs)] == [second.path, first.path]
    assert [run.path for run in find_runs(first.path)] == [first.path]


def test_a_missing_folder_is_an_error(outputs):
    with pytest.raises(ConfigError, match="outputs: no such folder; runs are written below 'outputs' unless outputs="):
        list(find_runs(outputs))


def test_a_run_is_named_by_path_name_or_hash(outputs):
    run, _ = started(outputs, "component", seed=0), started(outputs, "component", seed=1)
    hashed = run.name.rpartition("-")[2]
    for words in (
        str(run.path),
        f"default/{run.name}",
        run.name,
        run.name[:-4],
        "digits-component-s0",
        hashed,
        hashed[:5],
    ):
        assert resolve(words).path.resolve() == run.path.resolve()


def test_a_name_that_fits_several_runs_is_an_error(outputs):
    first, second = started(outputs, seed=0), started(outputs, seed=1)
    paths = f"outputs/default/{first.name}, outputs/default/{second.name}"
    with pytest.raises(ConfigError, match=f"'digits-scratch' fits several runs: {paths}; type more of the name"):
        resolve("digits-scratch")


def test_an_unknown_run_is_an_error_with_the_nearest(outputs):
    run = started(outputs, "component")
    words = run.name.replace("component", "componet")
    with pytest.raises(ConfigError, match=rf"no run '{words}'; did you mean '{run.name}'\? \(`mmrun ls` lists them\)"):
        resolve(words)
    with pytest.raises(ConfigError, match=r"^no run 'x' \(`mmrun ls` lists them\)$"):
        resolve("x")


@pytest.mark.parametrize(
    ("change", "seconds", "expected"),
    [
        ({}, 0, "running"),
        ({}, SILENT_AFTER + 1, "running"),  # alive, and busy with one long step
        ({"started": 1}, 0, "killed"),  # another process has the number now
        ({"pid": 2**22 + 1}, 0, "killed"),  # no process has it
        ({"host": "elsewhere"}, 0, "running"),
        ({"host": "elsewhere"}, SILENT_AFTER + 1, "killed"),
    ],
)
def test_a_run_whose_process_is_dead_is_killed(outputs, change, seconds, expected):
    run = started(outputs)
    recorded = read_json(run.status_file)
    process = {**recorded["process"], **change}
    write_json(run.status_file, {**recorded, "process": process, "heartbeat": time.time() - seconds})
    assert determine_status(run)["status"] == expected
    assert read_summary(run, outputs)[0].status == expected


def test_a_status_of_version_0_1_0_names_no_process(outputs):
    run = started(outputs)
    recorded = read_json(run.status_file)
    del recorded["process"]
    write_json(run.status_file, recorded)
    assert determine_status(run)["status"] == "running"
    write_json(run.status_file, {**recorded, "heartbeat": time.time() - SILENT_AFTER - 1})
    assert determine_status(run)["status"] == "killed"


def test_a_requested_run_that_never_started_is_waiting(outputs):
    run = started(outputs)
    run.status_file.unlink()
    assert determine_status(run)["status"] == "waiting"


def test_metrics_override_an_old_status(outputs):
    run = finished(outputs, accuracy=0.5)
    run.status.write("running", "train")  # as after a kill between the two last writes
    assert determine_status(run)["status"] == "finished"


def test_a_summary_has_status_metric_and_age(outputs):
    run = finished(outputs, accuracy=0.875)
    summarized = read_summary(run, outputs)[0]
    assert (summarized.name, summarized.status, summarized.progress) == (f"default/{run.name}", "finished", 1.0)
    assert (summarized.metric, summarized.value, summarized.seconds) == ("accuracy", 0.875, 10.0)
    assert 0 <= summarized.age < 60
    run.metrics_file.write_text("{")
    assert read_summary(run, outputs)[0].status == "damaged"


def test_the_primary_metric_is_the_first_one_of_the_fused_head():
    sample = metrics(config(), "run", 0.875)
    assert find_primary_metric(sample) == ("accuracy", 0.875)
    assert find_primary_metric({**sample, "metrics": {"test": {"loss": 0.1, "rmse/audio": 2.0}}}) == ("rmse/audio", 2.0)
    assert find_primary_metric({**sample, "metrics": {"val": {"accuracy": 1.0}}}) == (None, None)
