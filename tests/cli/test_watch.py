"""mmrun ls --watch."""

import pytest

from mmrun.cli import main
from tests.results.fabricate import finished, started


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def test_watching_ends_when_no_run_is_active(outputs, capsys, monkeypatch):
    finished(outputs, 0.875, seed=0)
    active = started(outputs, seed=1)
    moments = iter([lambda: active.status.write("running", "train", 30, 0.25), lambda: active.status.write("failed")])
    monkeypatch.setattr("time.sleep", lambda seconds: next(moments)())
    assert main(["ls", "--watch"]) == 0
    assert next(moments, None) is None
    title, *_ = capsys.readouterr().out.strip().splitlines()
    assert title.strip() == "2 runs below outputs: 1 failed, 1 finished"


def test_ctrl_c_is_not_an_error(outputs, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    started(outputs, seed=1)
    monkeypatch.setattr("time.sleep", interrupt)
    assert main(["ls", "--watch"]) == 0


def test_missing_folder(outputs, capsys):
    assert main(["ls", "--watch"]) == 2
    assert capsys.readouterr().err.startswith("mmrun: outputs: no such folder; ")
