"""mmrun report: files, formats, and the page in a real browser."""

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrun.cli import main
from tests.results.fabricate import detail, finished

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Three seeds of two strategies, with complete run folders."""
    monkeypatch.chdir(tmp_path)
    for strategy, accuracies in (("holistic", [0.60, 0.70, 0.65]), ("component", [0.70, 0.81, 0.74])):
        for seed, accuracy in enumerate(accuracies):
            detail(finished(tmp_path / "outputs", accuracy, strategy, seed))
    return tmp_path / "outputs"


def test_page_is_written_and_answers_are_printed(outputs, capsys, tmp_path):
    assert main(["report"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    answer, where = err.splitlines()
    assert answer.startswith(
        "component beats holistic by 0.100 [0.075, 0.125] at equal budget (10 epochs), n = 3, p = 0.003"
    )
    assert where == "wrote report.html"
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>\n<html lang=")


def test_caveats_are_printed_with_the_answers(outputs, capsys):
    finished(outputs, 0.5, "holistic", seed=3)
    assert main(["report", "outputs", "-o", "some/where/page.html"]) == 0
    err = capsys.readouterr().err
    assert "note: not every group has the same seed: component has 0, 1, 2; holistic has 0, 1, 2, 3\n" in err
    assert err.endswith("wrote some/where/page.html\n")


def test_other_formats_go_to_stdout(outputs, capsys):
    assert main(["report", "--format", "md"]) == 0
    assert capsys.readouterr().out.startswith(
        "# digits: which strategy has the highest test/accuracy?\n\n- **component beats holistic by"
    )
    assert main(["report", "--format", "latex"]) == 0
    assert "\\section{digits: which strategy has the highest test/accuracy?}" in capsys.readouterr().out
    assert main(["report", "--format", "csv", "--where", "seed=0,1", "--metric", "test/loss"]) == 0
    base, row = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (base["strategy"], row["strategy"], row["pairs"]) == ("holistic", "component", "2")
    assert float(row["difference"]) == pytest.approx(-0.105)


def test_figures_are_written_as_svg_and_pdf(outputs, capsys, tmp_path):
    assert main(["report", "--format", "md", "-o", "text/report.md", "--figures", "figures"]) == 0
    written = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {path.rpartition(".")[2] for path in written} == {"svg", "pdf"}
    assert len(written) == 2 * 19
    linked = re.findall(r"\]\((.*?)\)", (tmp_path / "text" / "report.md").read_text())
    assert len(linked) == 19
    assert all((tmp_path / "text" / link).is_file() for link in linked)
    assert (tmp_path / "figures" / "comparison-quality-flops.pdf").read_bytes().startswith(b"%PDF")


def test_arguments_of_compare(outputs, capsys):
    arguments = ["--against", "component", "--paired", "seed", "--test", "permutation", "--correct", "none"]
    assert main(["report", "-o", "page.html", *arguments]) == 0
    err = capsys.readouterr().err
    assert err.startswith("holistic and component do not differ significantly: -0.100")
    assert "note: with 3 pairs p of the permutation test cannot be below 0.25\n" in err


def test_hint_names_the_runs_without_evaluation(outputs, capsys):
    next(outputs.glob("*/*/evaluation.json")).unlink()
    assert main(["report"]) == 0
    assert capsys.readouterr().err.splitlines()[-2] == (
        "hint: 1 of 6 runs were not evaluated with missing and noisy modalities; "
        "run the same command with --eval to evaluate them first."
    )


def test_runs_that_are_shown_have_sections(outputs, capsys):
    runs = sorted(path.name for path in outputs.glob("default/*"))
    assert main(["report", "--show", runs[0], f"outputs/default/{runs[0]}", runs[1], "--figures", "figures"]) == 0
    page = Path("report.html").read_text()
    titles = re.findall(r"<h2 [^>]*>(Run .*?)</h2>", page)
    assert titles == [f"Run default/{name}" for name in runs[:2]]
    assert "label (test): ROC, dog against cat; chance is the dotted diagonal" in page
    written = {path.name for path in Path("figures").glob("run-*.svg")}
    assert len(written) == 2 * 6
    assert f"run-default-{runs[0]}-learning-train-loss.svg" in written


def test_a_misspelt_run_to_show(outputs, capsys):
    assert main(["report", "--show", "digits-holystic-s0"]) == 2
    assert capsys.readouterr().err.startswith("mmrun: no run 'digits-holystic-s0'")


def test_explanations_need_a_run_that_is_shown(outputs, capsys):
    assert main(["report", "--explain", "rows.csv"]) == 2
    assert capsys.readouterr().err == (
        "mmrun: --explain needs --show RUN, and no --format: it writes a page for each run that is shown\n"
    )


def test_no_runs_is_a_one_line_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    assert main(["report"]) == 2
    assert capsys.readouterr().err == "mmrun: no finished run below outputs\n"


# ------------------------------------------------------------------------------------------------- in a real browser


@pytest.fixture
def browser(tmp_path):
    """Return a function that opens a page in headless Chromium and returns its stdout and console messages."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")

    def open_page(file, *flags, width=1280):
        process = subprocess.run(
            [
                *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *("--enable-logging=stderr", "--virtual-time-budget=3000", f"--user-data-dir={tmp_path / 'profile'}"),
                *(f"--window-size={width},2000", *flags, f"file://{file}"),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return process.stdout, [line for line in process.stderr.splitlines() if "CONSOLE" in line]

    return open_page


@pytest.fixture
def page(outputs, tmp_path, capsys):
    assert main(["report", "-o", "page.html"]) == 0
    return tmp_path / "page.html"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_page_is_drawn_without_console_messages(page, browser, tmp_path, width, dark):
    theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    _, console = browser(page, f"--screenshot={tmp_path / 'shot.png'}", *theme, width=width)
    assert console == []
    pixels = np.asarray(Image.open(tmp_path / "shot.png").convert("RGB"))
    assert pixels.shape == (2000, width, 3)
    paper = pixels[2, 2]
    assert paper.max() < 40 if dark else paper.min() == 255
    assert 0.02 < (np.abs(pixels.astype(int) - paper).max(axis=2) > 60).mean() < 0.6  # neither blank nor all ink
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


def test_clicks_sort_a_column_up_and_down(page, browser, tmp_path):
    script = """<script>
    const table = [...document.querySelectorAll("table")].at(-1), button = table.tHead.querySelectorAll("button")[3];
    const column = () => [...table.tBodies[0].rows].map((row) => row.cells[3].textContent).join(" ");
    button.click(); const up = column(), sort = button.parentElement.getAttribute("aria-sort");
    button.click(); const down = column();
    const wide = document.documentElement.scrollWidth > innerWidth;
    document.title = JSON.stringify([up, sort, down, wide]);
    </script></body>"""
    tried = tmp_path / "tried.html"
    tried.write_text(page.read_text().replace("</body>", script))
    out, console = browser(tried, "--dump-dom", width=390)
    assert console == []
    assert '["0.6000 0.6500 0.7000 0.7000 0.7400 0.8100","ascending",' in out
    assert '"0.8100 0.7400 0.7000 0.7000 0.6500 0.6000",false]</title>' in out


def test_tags_and_notes_stand_in_the_table_of_runs(outputs, capsys):
    run = finished(outputs, 0.5, "holistic", seed=3, tag=["pilot", "v2"])
    run.write_note("too short")
    assert main(["report", "--format", "md", "--quiet"]) == 0
    out, err = capsys.readouterr()
    (line,) = (line for line in out.splitlines() if line.startswith(f"| {run.name} |"))
    assert line.endswith("| pilot, v2 | too short |")
    assert [line.split(" ")[0] for line in err.splitlines()] == ["component"]  # the answer, without notes


def test_a_run_with_damaged_notes_is_left_out(outputs, capsys):
    run = finished(outputs, 0.5, "holistic", seed=3)
    run.notes_file.write_text("{")
    assert main(["report"]) == 0
    assert f"note: damaged and left out: {run.name}: notes.json: not valid JSON" in capsys.readouterr().err
