"""A run folder: names, whole files, a log that can be cut, nobody else beside."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from mmrun.errors import DataError, RunError
from mmrun.results.environment import LIBRARIES, describe_environment
from mmrun.results.folder import RunFolder
from mmrun.results.identity import config_hash, run_folder_path
from mmrun.results.predictions import write_predictions
from tests.results.fabricate import config, finished, started
from tests.results.schema import violations

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/metrics.schema.json").read_text())


# ---------------------------------------------------------------------------------------------------------------- names


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


# ------------------------------------------------------------------------------------------------------- write and read


def test_config_overrides_and_environment_are_read_back(tmp_path):
    folder = started(tmp_path, "component", seed=2)
    assert folder.read_config() == config("component", seed=2, outputs=str(tmp_path))
    assert folder.read_overrides() == ["strategy=component", "seed=2"]
    assert json.loads(folder.environment_file.read_text()) == {"python": "3.11"}
    assert folder.status.read()["status"] == "running"
    assert not folder.finished


def test_a_run_with_metrics_is_finished(tmp_path):
    folder = finished(tmp_path, accuracy=0.875)
    assert folder.finished
    assert folder.status.read() | {"heartbeat": 0} == {
        "status": "finished",
        "stage": None,
        "step": 0,
        "progress": 1.0,
        "message": None,
        "heartbeat": 0,
    }
    assert folder.read_metrics()["metrics"]["test"]["accuracy"] == 0.875
    assert not list(folder.path.glob(".*")), "an unfinished file stayed behind"


def test_metrics_follow_the_schema(tmp_path):
    written = finished(tmp_path, accuracy=0.875).read_metrics()
    assert violations(written, SCHEMA) == []
    broken = {**written, "seed": "0", "dataset": {**written["dataset"], "rows": {"train": 3}}}
    del broken["budget"]
    assert violations(broken, SCHEMA) == [
        "$: no 'budget'",
        "$.seed: '0' is not integer",
        "$.dataset.rows: no 'val'",
        "$.dataset.rows: no 'test'",
    ]


def test_numpy_numbers_become_plain_and_non_finite_ones_null(tmp_path):
    folder = started(tmp_path)
    folder.finish({"metrics": {"test": {"accuracy": np.float32(0.5), "auroc": float("nan")}}, "rows": np.arange(2)})
    assert folder.read_metrics() == {"schema": 2, "metrics": {"test": {"accuracy": 0.5, "auroc": None}}, "rows": [0, 1]}


def test_a_status_keeps_values_that_are_not_given_again(tmp_path):
    folder = started(tmp_path)
    folder.status.write("running", "pretrain", step=12, progress=0.25)
    folder.status.write("failed", message="RunError: the loss is nan")
    status = folder.status.read()
    assert (status["status"], status["stage"], status["step"], status["progress"]) == ("failed", "pretrain", 12, 0.25)
    assert status["message"] == "RunError: the loss is nan"
    assert abs(status["heartbeat"] - time.time()) < 60


def test_predictions_are_a_table_of_ids_targets_and_scores(tmp_path):
    folder = started(tmp_path)
    scores = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)
    write_predictions(folder, "test", ["a", "b"], {"label": np.array([1, 0])}, {"label": scores, "label/image": scores})
    assert parquet.read_table(folder.predictions / "test.parquet").to_pydict() == {
        "id": ["a", "b"],
        "label.target": [1, 0],
        "label.scores": [[0.25, 0.75], [0.5, 0.5]],
        "label/image.scores": [[0.25, 0.75], [0.5, 0.5]],
    }


def test_clear_empties_the_folder(tmp_path):
    folder = finished(tmp_path, accuracy=0.5)
    folder.log.append({"event": "evaluated"})
    folder.checkpoint_path("train", "last").mkdir(parents=True)
    folder.clear()
    assert list(folder.path.iterdir()) == []


@pytest.mark.parametrize(("file", "damage"), [("metrics.json", '{"schema": 1,'), ("config.yaml", "seed: [0")])
def test_a_damaged_file_is_named(tmp_path, file, damage):
    folder = finished(tmp_path, accuracy=0.5)
    (folder.path / file).write_text(damage)
    with pytest.raises(
        DataError, match=rf"{file}: damaged, not valid (JSON|YAML) .*; remove the run folder and train again"
    ):
        folder.read_metrics() if file == "metrics.json" else folder.read_config()


def test_a_folder_that_is_not_a_run_is_an_error(tmp_path):
    with pytest.raises(
        DataError, match=r"metrics\.json: no such file; this is not a run folder, or the run did not get"
    ):
        RunFolder(tmp_path).read_metrics()


# -------------------------------------------------------------------------------------------------------------- the log


def test_the_log_continues_from_a_checkpoint(tmp_path):
    folder = started(tmp_path)
    folder.log.append({"step": 1, "val/loss": 0.5})
    size = folder.log.size()
    folder.log.append({"step": 2})
    folder.log.truncate(size)
    folder.log.append({"step": 2, "again": True})
    assert list(folder.log.read_events()) == [{"step": 1, "val/loss": 0.5}, {"step": 2, "again": True}]


def test_an_event_is_on_disk_at_once_and_an_incomplete_line_is_ignored(tmp_path):
    folder = started(tmp_path)
    assert folder.log.size() == 0
    folder.log.append({"step": 1, "loss": float("inf")})
    with folder.log_file.open("a") as log:
        log.write('{"step": 2, "lo')
    assert list(RunFolder(folder.path).log.read_events()) == [{"step": 1, "loss": None}]


# ------------------------------------------------------------------------------------------------------- one at a time

HOLD = """
import sys, time
from mmrun.results.folder import RunFolder
with RunFolder(sys.argv[1]).lock():
    print("holds", flush=True)
    time.sleep(60)
"""


def test_only_one_process_trains_a_run_and_a_killed_one_releases_the_lock(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "holds\n"
    with (
        pytest.raises(RunError, match="run: another process trains this run; wait for it or stop it"),
        RunFolder(tmp_path / "run").lock(),
    ):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with RunFolder(tmp_path / "run").lock():
        assert (tmp_path / "run").is_dir()


def test_the_environment_names_versions_and_commit_but_no_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = describe_environment("cpu", threads=1)
    assert environment["versions"].keys() == {"mmrun", *LIBRARIES}
    assert environment["versions"]["torch"].startswith("2.")
    assert (environment["device"], environment["threads"], environment["git"]) == ("cpu", 1, None)
    assert os.uname().nodename not in json.dumps(environment)


def test_the_environment_records_whether_the_code_differs_from_its_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    state = describe_environment("cpu", threads=1)["git"]
    assert (len(state["commit"]), state["changed"]) == (40, False)
    Path("train.py").touch()
    assert describe_environment("cpu", threads=1)["git"] == {"commit": state["commit"], "changed": True}
