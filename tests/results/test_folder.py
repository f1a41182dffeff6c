"""The folder of a run: what is written is read back, and one process at a time writes."""

import json
from pathlib import Path

from mmrun.results.folder import RunFolder
from tests.results.fabricate import config, finished, started
from tests.results.schema import violations

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/metrics.schema.json").read_text())


def test_config_overrides_and_environment_are_read_back(tmp_path):
    folder = started(tmp_path, "component", seed=2)
    assert folder.read_config() == config("component", seed=2, outputs=str(tmp_path))
    assert folder.read_overrides() == ["strategy=component", "seed=2"]
    assert folder.read_environment() == {"python": "3.11"}
    assert folder.status.read()["status"] == "running"
    assert not folder.finished


def test_every_start_is_recorded(tmp_path):
    folder = started(tmp_path)
    assert folder.read_starts() == [{"python": "3.11"}]
    folder.add_start({"python": "3.12", "time": 2.0})
    folder.update_environment(batch_size=8)
    assert folder.read_environment() == {"python": "3.11", "batch_size": 8}  # of the first start
    assert folder.read_starts() == [{"python": "3.11"}, {"python": "3.12", "time": 2.0}]
    assert RunFolder(tmp_path / "other").read_starts() == []


def test_a_run_with_metrics_is_finished(tmp_path):
    folder = finished(tmp_path, accuracy=0.875)
    assert folder.finished
    assert folder.status.read() | {"heartbeat": 0, "process": {}} == {
        "status": "finished",
        "stage": None,
        "step": 0,
        "progress": 1.0,
        "message": None,
        "heartbeat": 0,
        "process": {},
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


def test_clear_empties_the_folder(tmp_path):
    folder = finished(tmp_path, accuracy=0.5)
    folder.log.append({"event": "evaluated"})
    folder.checkpoint_path("train", "last").mkdir(parents=True)
    folder.clear()
    assert list(folder.path.iterdir()) == []
