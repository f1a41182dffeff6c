"""mmrun compare: what is printed. The figures themselves are tested with mmrun.runs.compare."""

import csv
import io
import json

import pytest
from runs.fabricate import finished, started

from mmrun.cli import main

COMPARE = ["compare", "--by", "strategy", "--against", "scratch", "--paired", "seed"]


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Three seeds of a baseline, of a better strategy, and two of one that is the same."""
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    for seed, accuracy in enumerate([0.500, 0.700, 0.600]):
        finished(outputs, accuracy, "scratch", seed)
    for seed, accuracy in enumerate([0.550, 0.751, 0.649]):
        finished(outputs, accuracy, "under_score", seed)
    return outputs


TITLE = "test/accuracy, higher is better; difference to scratch, paired by seed, p corrected by Holm; * best, p < 0.05"


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_table(outputs, capsys):
    assert main(COMPARE) == 0
    out, err = capsys.readouterr()
    title, header, _, baseline, row = out.splitlines()
    assert title == TITLE
    assert cells(header) == [
        *("strategy", "n", "mean", "sd", "95 % interval", "pairs", "difference", "95 % interval", "p"),
        *("samples", "time", "FLOPs", "memory", "learned"),
    ]
    assert cells(baseline) == [
        *("scratch", "3", "0.6000", "0.1000", "0.3516 .. 0.8484", "-", "-", "-", "-"),
        *("14.4k", "10.0 s", "1.5T", "512 MiB", "25.3k"),
    ]
    assert cells(row) == [
        *("under_score", "3", "0.6500", "0.1005", "0.4003 .. 0.8997", "3", "+0.0500 *", "0.0475 .. 0.0525", "<0.001"),
        *("14.4k", "10.0 s", "1.5T", "512 MiB", "25.3k"),
    ]
    assert err == ""


def test_without_a_baseline_there_is_no_difference(outputs, capsys):
    assert main(["compare", "outputs"]) == 0
    title, header, *_ = capsys.readouterr().out.splitlines()
    assert title == "test/accuracy, higher is better"
    assert cells(header)[:6] == ["strategy", "n", "mean", "sd", "95 % interval", "samples"]


def test_unpaired_and_uncorrected(outputs, capsys):
    assert main(["compare", "--against", "scratch", "--correct", "none", "--metric", "test/loss"]) == 0
    title, header, *_, row = capsys.readouterr().out.splitlines()
    assert title == "test/loss, lower is better; difference to scratch, not paired"
    assert "pairs" not in header
    assert cells(row)[5] == "-0.0500"


def test_markdown_has_the_notes_below(outputs, capsys):
    run = started(outputs, seed=9)
    assert main([*COMPARE, "--format", "md"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == TITLE
    assert lines[2].startswith("| strategy | n | mean | sd | 95 % interval | pairs | difference |")
    assert lines[3].startswith("| --- | ---: | ---: |")
    assert lines[5].startswith("| under_score | 3 | 0.6500 | 0.1005 | 0.4003 .. 0.8997 | 3 | +0.0500 \\* |")
    note = f"not finished and left out: 1 run ({run.name} (running))"
    assert lines[7] == f"- Note: {note}"
    assert err == f"note: {note}\n"


def test_latex_is_escaped_and_has_the_notes_below(outputs, capsys):
    started(outputs, seed=9)
    assert main([*COMPARE, "--format", "latex"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"% {TITLE}"
    assert lines[1:3] == ["\\begin{tabular}{lrrrrrrrrrrrrr}", "\\toprule"]
    assert lines[3].startswith("strategy & n & mean & sd & 95 \\% interval & pairs &")
    assert lines[6].startswith("under\\_score & 3 & 0.6500 &")
    assert "& $<$0.001 &" in lines[6]
    assert lines[6].endswith("& 25.3k \\\\")
    assert lines[7:9] == ["\\bottomrule", "\\end{tabular}"]
    assert lines[9].startswith("\\par\\footnotesize Note: not finished and left out: 1 run (digits-scratch-s9-")


def test_csv_has_the_figures_in_full(outputs, capsys):
    assert main([*COMPARE, "--format", "csv"]) == 0
    baseline, row = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(row)[:4] == ["strategy", "n", "mean", "sd"]
    assert (baseline["difference"], baseline["p"], baseline["baseline"]) == ("", "", "")
    assert (row["strategy"], row["n"], row["baseline"], row["pairs"], row["best"]) == (
        *("under_score", "3", "scratch", "3", "True"),
    )
    assert float(row["difference"]) == pytest.approx(0.05)
    assert float(row["flops"]) == 1.5e12
    assert len(row["runs"].split()) == 3


def test_json_has_everything(outputs, capsys):
    started(outputs, seed=9)
    assert main([*COMPARE, "--format", "json", "--where", "seed=0,1", "dataset=digits"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert {key: compared[key] for key in ("metric", "lower_is_better", "by", "against", "paired", "correct")} == {
        "metric": "test/accuracy",
        "lower_is_better": False,
        "by": ["strategy"],
        "against": "scratch",
        "paired": ["seed"],
        "correct": "holm",
    }
    assert [row["group"] for row in compared["rows"]] == [["scratch"], ["under_score"]]
    assert compared["rows"][1]["difference"] == pytest.approx(0.0505)
    assert compared["rows"][1]["pairs"] == 2
    assert len(compared["notices"]) == 2
    assert compared["notices"][1] == (
        "fewer than 3 runs, so a very wide interval, or none at n=1: scratch (n=2), under_score (n=2)"
    )


def test_a_choice_may_be_written_with_a_slash(outputs, capsys):
    assert main(["compare", "--by", "encoder/image,fusion", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("cnn,concat,6,")


def test_a_wrong_key_is_one_line(outputs, capsys):
    assert main(["compare", "--by", "stratgy"]) == 2
    assert capsys.readouterr().err.startswith("mmrun: no run has the key 'stratgy'; did you mean 'strategy'?")
