"""mmrun serve: what is refused before anything is served, and what is printed."""

import importlib.util

import pytest

from mmrun.cli import serve
from tests.deploy.serve.client import start


@pytest.fixture
def with_extra():
    pytest.importorskip("fastapi", reason="the extra serve is not installed")


def test_a_missing_extra_is_one_line(shell, moved_run, monkeypatch):
    installed = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in serve.LIBRARIES else installed(name))
    code, out, err = shell("serve", moved_run)
    assert (code, out) == (2, "")
    assert err.startswith("mmrun: mmrun serve: fastapi, uvicorn, python-multipart are not installed; ")
    assert "install fastapi uvicorn python-multipart" in " ".join(err.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "70000"], "argument --port: 70000 is not a whole number from 0 to 65535 (see `mmrun serve -h`)"),
        (["--max-batch", "0"], "argument --max-batch: 0 is not a whole number from 1 to 100000 (see `mmrun serve -h`)"),
        (["--max-wait", "-1"], "argument --max-wait: -1 is not a number from 0 to 10000 (see `mmrun serve -h`)"),
    ],
)
def test_wrong_options_are_refused(shell, moved_run, options, message):
    assert shell("serve", moved_run, *options) == (2, "", f"mmrun: {message}\n")


@pytest.mark.usefixtures("with_extra")
def test_what_is_no_finished_run_is_refused(shell, moved_run, tmp_path):
    code, _, err = shell("serve", "gone")
    assert (code, "gone" in err) == (2, True)
    (tmp_path / "run.zip").write_bytes(b"no archive")
    code, _, err = shell("serve", "run.zip", "--port", "0")
    assert (code, err) == (1, "mmrun: run.zip: damaged, or no archive of a run (File is not a zip file)\n")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.yaml").write_bytes((moved_run / "config.yaml").read_bytes())
    code, _, err = shell("serve", "unfinished", "--port", "0")
    assert (code, err) == (2, "mmrun: unfinished: this run is not finished; mmrun resume unfinished\n")


@pytest.mark.usefixtures("with_extra")
def test_a_packed_run_is_served_to_other_machines_with_a_note(shell, moved_run, tmp_path, fork_server):
    assert shell("pack", moved_run, "-o", "run.zip")[0] == 0
    client = start(fork_server, tmp_path / "logs", "run.zip", "--host", "0.0.0.0", "--port", "0", cwd=tmp_path).wait()
    answer = client.post_rows([{"note": "a tall one", "height": 190, "weight": 61}])
    assert list(answer.json["rows"][0]["predictions"]) == ["label", "age"]
    assert isinstance(answer.json["rows"][0]["predictions"]["age"]["prediction"], float)
    client.process.terminate()
    assert client.process.wait(30) == 0
    assert client.log[0] == "note: 0.0.0.0 can be reached from other machines, and there is no authentication"
    assert (client.folder / "out").read_text() == f"http://0.0.0.0:{client.port}\n"
