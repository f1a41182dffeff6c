"""Names that a stranger chose: shown with control characters escaped, and neither markup nor formulas in exports."""

import ast
import csv
import io
import json
from pathlib import Path

import pytest

import mmrun.cli
from mmrun.cli import main
from mmrun.cli.output import echo
from mmrun.results.csv import escape_formula
from mmrun.results.files import read_json, write_json
from mmrun.results.folder import RunFolder
from mmrun.results.formats import escape_latex, escape_markdown
from mmrun.results.formatting import escape_controls
from tests.results.fabricate import detail, finished

# Recolours, writes the clipboard, clears the line, ends a line, reverses it, and is no character at all
ESCAPES = "\x1b[31mred\x1b]52;c;aGk=\x07\r\x9b2J\u202etxt\ud800"
SHOWN = r"\x1b[31mred\x1b]52;c;aGk=\x07\r\x9b2J\u202etxt\ud800"
RAW = ("\x1b", "\x07", "\r", "\x9b", "\u202e", "\ud800")


def test_controls_are_escaped_and_letters_of_all_scripts_are_not():
    assert escape_controls(ESCAPES) == SHOWN
    assert escape_controls("a\tb\nçé 日本 עברית नमस्ते 👩‍🔬") == "a\tb\nçé 日本 עברית नमस्ते 👩‍🔬"


def test_only_echo_prints():
    for file in sorted(Path(mmrun.cli.__file__).parent.glob("*.py")):
        if file.name not in ("output.py", "table.py"):
            calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
            assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls), file
            assert "from rich.console import Console" not in file.read_text() or file.name == "console.py", file


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunFolder:
    """A run whose metrics, classes, choices and message are hostile, and one to compare it with."""
    monkeypatch.chdir(tmp_path)
    finished(tmp_path / "outputs", 0.5)
    name = f"x{ESCAPES[:-1]}"  # YAML and file names hold no half of a surrogate pair
    run = detail(finished(tmp_path / "outputs", 0.6, name), classes=(f"cat{ESCAPES[:-1]}", r"[red]dog[/red] $\frac{$"))
    content = read_json(run.metrics_file)
    content["metrics"]["test"][f"accuracy/{ESCAPES[:-1]}"] = 0.5
    write_json(run.metrics_file, content)
    return run


def test_no_verb_prints_a_control_character(run, capsys, recwarn):
    for verb in (
        ["ls"],
        ["ls", "--format", "csv"],
        ["ls", "--format", "json"],
        ["show", str(run.path)],
        ["show", str(run.path), "--format", "json"],
        ["diff", str(run.path), str(next(path for path in run.path.parent.iterdir() if path != run.path))],
        ["compare", "--metric", "test/accuracy"],
        ["compare", "--metric", "test/accuracy", "--format", "csv"],
        ["compare", "--metric", "test/accuracy", "--format", "md"],
        ["report", "--format", "md"],
        ["report"],
        ["show", f"no{ESCAPES}"],
        ["compare", "--metric", f"test/{ESCAPES}"],
    ):
        main(verb)
        out, err = capsys.readouterr()
        for character in RAW:
            assert character not in out + err, (verb, character)

    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_markup_of_rich_is_shown_as_it_is(run, capsys):
    assert main(["show", str(run.path)]) == 0
    assert "[red]dog[/red]" in capsys.readouterr().out


def test_data_check_escapes_columns_classes_and_cells(tmp_path, capsys):
    rows = "".join(f"{number},{'ab'[number % 2]}{ESCAPES[:-1]}\n" for number in range(40))
    (tmp_path / "my.csv").write_text(f"x{ESCAPES[:5]},label\n{rows}", newline="")
    main(["data", "check", str(tmp_path / "my.csv")])
    out, err = capsys.readouterr()
    assert not any(character in out + err for character in RAW)


def test_echo_writes_to_the_stream_of_the_moment(capsys):
    echo("a\x1bb", 5, end="")
    assert capsys.readouterr().out == r"a\x1bb 5"


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1+1"])
def test_a_cell_of_csv_is_no_formula(cell):
    assert escape_formula(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", [-1.5, None, "-1.5", "+3", "1e-3", "a=b", "x@y.z", ""])
def test_numbers_and_other_cells_stay(cell):
    assert escape_formula(cell) == cell


def test_a_group_called_like_a_formula(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished(tmp_path / "outputs", 0.5, "=cmd|' /C calc'!A0")
    assert main(["compare", "--metric", "test/accuracy", "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["strategy"] == "'=cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)>"),
        ("a|b", r"a\|b"),
        ("[click](http://evil.example)", r"[click]\(http://evil.example)"),
        ("@all", r"\@all"),
        ("`x`", r"\`x\`"),
        ("two\nlines", "two lines"),
        ("p <0.001, f1_macro 0.7 *", r"p <0.001, f1_macro 0.7 \*"),
    ],
)
def test_markdown_is_text(text, expected):
    assert escape_markdown(text) == expected


def test_latex_is_text():
    assert escape_latex(r"\input{/etc/passwd}~^") == (
        r"\textbackslash{}input\{/etc/passwd\}\textasciitilde{}\textasciicircum{}"
    )


def test_json_is_ascii(run, capsys):
    assert main(["ls", "--format", "json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert len(json.loads(out)) == 2
