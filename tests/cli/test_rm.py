"""mmrun rm."""

import io

import pytest

from mmrun.cli import main
from mmrun.results.folder_lock import lock_run
from tests.results.fabricate import finished, started


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return finished(tmp_path / "outputs", 0.5)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_only_the_named_run_is_removed(run, tmp_path, capsys):
    other = finished(tmp_path / "outputs", 0.5, seed=1)
    assert main(["rm", run.name, "--yes"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[2].split()[:2] == [f"outputs/default/{run.name}", "finished"]
    assert err == f"removed outputs/default/{run.name}\n"
    assert (run.path.exists(), other.path.exists()) == (False, True)


@pytest.mark.parametrize(("answer", "stays"), [("y\n", False), ("n\n", True), ("", True)])
def test_it_asks_on_a_terminal(run, monkeypatch, capsys, answer, stays):
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert main(["rm", run.name]) == 0
    assert "remove 1 run, " in capsys.readouterr().out
    assert run.path.exists() == stays


def test_without_a_terminal_it_needs_yes(run, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["rm", run.name]) == 2
    assert capsys.readouterr().err == "mmrun: rm: asks before it removes, but there is no terminal; add --yes\n"
    assert run.path.exists()


def test_a_running_run_stays(run, tmp_path, capsys):
    running = started(tmp_path / "outputs", seed=1)
    assert main(["rm", run.name, running.name, "--yes"]) == 2
    assert capsys.readouterr().err == f"mmrun: outputs/default/{running.name}: is being trained; stop it first\n"
    assert run.path.exists()


def test_a_locked_run_stays(run, capsys):
    with lock_run(run):
        assert main(["rm", run.name, "--yes"]) == 1
    assert "another process trains this run" in capsys.readouterr().err
    assert run.path.exists()


def test_what_links_lead_to_stays(run, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data.csv").write_text("a")
    (run.path / "link").symlink_to(precious)
    assert main(["rm", run.name, "--yes"]) == 0
    assert not run.path.exists()
    assert (precious / "data.csv").read_text() == "a"


def test_a_link_to_a_run_is_not_followed(run, tmp_path, capsys):
    (tmp_path / "link").symlink_to(run.path)
    assert main(["rm", "link", "--yes"]) == 2
    assert capsys.readouterr().err == f"mmrun: link: is a link; name the run itself, {run.path}\n"


def test_a_folder_with_any_config_is_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("theme: dark\n")
    assert main(["rm", ".", "--yes"]) == 2
    assert capsys.readouterr().err == (
        "mmrun: .: neither its config.yaml nor its status.json is that of a run; remove it by hand\n"
    )
    assert (tmp_path / "config.yaml").exists()


def test_a_damaged_run_can_be_removed(run):
    run.metrics_file.write_text("{")
    assert main(["rm", str(run.path), "--yes"]) == 0
    assert not run.path.exists()
