"""mmrun note."""

import pytest

from mmrun.cli import main
from tests.results.fabricate import finished


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return finished(tmp_path / "outputs", 0.5, note="as typed")


def note(capsys, *words):
    assert main(["note", *words]) == 0
    return capsys.readouterr().out


def test_a_note_replaces_that_of_the_config(run, capsys):
    assert note(capsys, run.name) == "as typed\n"
    note(capsys, run.name, "lr too low, see [1]")
    assert note(capsys, run.name) == "lr too low, see [1]\n"
    assert main(["show", run.name]) == 0
    assert "note        lr too low, see [1]" in capsys.readouterr().out


def test_an_empty_text_removes_it(run, capsys):
    note(capsys, run.name, "")
    assert note(capsys, run.name) == "\n"


def test_it_stays_when_the_run_is_repeated(run, capsys):
    note(capsys, run.name, "mine")
    run.clear()
    assert run.read_note({}) == "mine"


def test_control_characters_are_escaped(run, capsys):
    note(capsys, run.name, "red \x1b[31m")
    assert note(capsys, run.name) == "red \\x1b[31m\n"


def test_damaged_notes_are_named(run, capsys):
    run.notes_file.write_text('{"note": 3}')
    assert main(["note", run.name]) == 1
    assert "notes.json: damaged, note: expected a string or null, not 3" in capsys.readouterr().err
