"""mmrun open."""

import pytest

from mmrun.cli import main
from tests.results.fabricate import finished


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    return finished(tmp_path / "outputs", 0.5)


def test_without_a_report_it_is_the_folder(run, capsys):
    assert main(["open", run.name]) == 0
    assert capsys.readouterr().out == f"{run.path}\n"


def test_the_nearest_report_is_opened(run, capsys):
    for folder in (run.path.parents[1], run.path.parent, run.path):
        (folder / "report.html").write_text("<html>")
        assert main(["open", run.name]) == 0
        assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


def test_a_report_that_is_a_link_is_not_followed(run, tmp_path, capsys):
    (tmp_path / "elsewhere.html").write_text("<html>")
    (run.path / "report.html").symlink_to(tmp_path / "elsewhere.html")
    assert main(["open", run.name]) == 0
    assert capsys.readouterr().out == f"{run.path}\n"


def test_on_a_display_a_report_goes_to_the_browser(run, monkeypatch):
    opened = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", opened.append)
    (run.path / "report.html").write_text("<html>")
    assert main(["open", run.name]) == 0
    assert opened == [(run.path / "report.html").as_uri()]
