"""mmrun compare: what is printed. The numbers are tested with mmrun.results.compare."""

import csv
import io
import json

import numpy as np
import pytest

from mmrun.cli import main
from mmrun.results.files import write_json
from mmrun.results.predictions import write_predictions
from tests.results.fabricate import finished, started

COMPARE = ["compare", "--by", "strategy", "--against", "scratch", "--paired", "seed"]


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Three seeds of a baseline and of a better strategy."""
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    for seed, accuracy in enumerate([0.500, 0.700, 0.600]):
        finished(outputs, accuracy, "scratch", seed)
    for seed, accuracy in enumerate([0.550, 0.751, 0.649]):
        finished(outputs, accuracy, "under_score", seed)
    return outputs


TITLE = (
    "test/accuracy, higher is better; difference to scratch, paired by seed (paired t), p corrected by Holm; "
    "* best, p < 0.05"
)


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_table(outputs, capsys):
    assert main(COMPARE) == 0
    out, err = capsys.readouterr()
    title, header, _, baseline, row, blank, cost_title, cost_header, _, cost, _ = out.splitlines()
    assert title == TITLE
    assert cells(header) == [
        *("strategy", "n", "mean", "sd", "mean's interval", "pairs", "difference", "95 % interval", "p"),
        *("effect", "P(better)", "detectable"),
    ]
    assert cells(baseline) == ["scratch", "3", "0.6000", "0.1000", "0.3516 .. 0.8484", *["-"] * 7]
    assert cells(row) == [
        *("under_score", "3", "0.6500", "0.1005", "0.4003 .. 0.8997", "3", "+0.0500 *", "0.0475 .. 0.0525", "<0.001"),
        *("+28.21", "0.67", "0.0033"),
    ]
    assert (blank, cost_title) == ("", "cost of a run")
    assert cells(cost_header) == ["strategy", "epochs", "samples", "time", "FLOPs", "memory", "trainable"]
    assert cells(cost) == ["scratch", "10", "14.4k", "10.0 s", "1.5T", "512 MiB", "25.3k"]
    assert err == ""


def test_no_baseline_no_differences(outputs, capsys):
    assert main(["compare", "outputs"]) == 0
    title, header, *_ = capsys.readouterr().out.splitlines()
    assert title == "test/accuracy, higher is better"
    assert cells(header) == ["strategy", "n", "mean", "sd", "95 % interval"]


def test_unpaired_and_uncorrected(outputs, capsys):
    assert main(["compare", "--against", "scratch", "--correct", "none", "--metric", "test/loss"]) == 0
    title, header, _, _, row, *_ = capsys.readouterr().out.splitlines()
    assert title == "test/loss, lower is better; difference to scratch, not paired (Welch's t)"
    assert "pairs" not in header
    assert cells(row)[5] == "-0.0500"


def test_title_names_the_test_and_the_correction(outputs, capsys):
    assert main([*COMPARE, "--test", "permutation", "--correct", "bh"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == (
        "test/accuracy, higher is better; difference to scratch, paired by seed (permutation of signs), "
        "p corrected by Benjamini and Hochberg"
    )
    assert err == "note: with 3 pairs p of the permutation test cannot be below 0.25\n"


def test_other_machines_and_versions_are_told(outputs, capsys):
    run = finished(outputs, 0.65, "under_score", seed=2)
    versions = {"torch": "2.15.0", "timm": None}
    git = {"commit": "0123456789abcdef", "changed": True}
    write_json(run.environment_file, {"python": "3.11", "device": "NVIDIA H100", "versions": versions, "git": git})
    other = finished(outputs, 0.60, "scratch", seed=2)
    write_json(other.environment_file, {"python": "3.11", "device": "cpu", "versions": {"torch": "2.9.0"}, "git": None})
    for mode in ([], ["--rank-over", "seed"]):
        assert main([*COMPARE, *mode]) == 0
        err = capsys.readouterr().err
        assert "note: device differs between compared runs: NVIDIA H100 (n=1), cpu (n=1)\n" in err
        assert "note: torch differs between compared runs: 2.15.0 (n=1), 2.9.0 (n=1)\n" in err


def test_unequal_budgets_are_flagged(outputs, capsys):
    for seed in range(3):
        finished(outputs, 0.9, "component", seed, budget={"epochs": 20.0, "steps": None})
    assert main(COMPARE) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"{TITLE}; ! not on equal terms"
    assert cells(out.splitlines()[4])[6] == "+0.3000 !"
    assert cells(out.splitlines()[5])[6] == "+0.0500 *"
    assert err == "note: budget differs between compared runs: epochs=10 (n=6), epochs=20 (n=3)\n"


def test_amortised_costs_have_a_break_even_point(outputs, capsys):
    assert main([*COMPARE, "--amortise", "3"]) == 0
    _, title, header, _, _, row = capsys.readouterr().out.splitlines()[-6:]
    assert title == "cost of a run; stages that train encoders alone are shared by 3 fusions"
    assert cells(header)[-3:] == ["fewer epochs from", "less time from", "fewer FLOPs from"]
    assert cells(row)[-3:] == ["never", "never", "never"]


def test_curve_over_a_key(outputs, capsys):
    for seed in range(3):
        for strategy, accuracy in (("scratch", 0.40), ("under_score", 0.35 + seed % 2 / 1000)):
            finished(outputs, accuracy + seed / 100, strategy, seed, dataset__labelled=0.5)
    assert main([*COMPARE, "--curve-over", "dataset.labelled"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].endswith("p corrected by Holm over 2 tests; * best at this value, p < 0.05; ! not on equal terms")
    assert cells(lines[1]) == ["strategy", "dataset.labelled=0.5", "dataset.labelled=1"]
    assert cells(lines[4]) == ["under_score", "0.3603", "0.6500 *"]
    assert (
        lines[6] == "where means cross, by straight lines on a linear axis between values with significant differences"
    )
    assert cells(lines[9]) == ["under_score", "scratch", "overtakes", "0.749", "-", "0.5 and 1"]
    assert err == (
        "note: under_score and scratch: an interval of their crossing needs the same seed at every value, at least 5\n"
    )
    assert main([*COMPARE, "--curve-over", "dataset/labelled", "--format", "csv"]) == 0
    assert [row["dataset.labelled"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == [
        *("0.5", "0.5", "1.0", "1.0"),
    ]
    assert main([*COMPARE, "--curve-over", "dataset.labelled", "--format", "json"]) == 0
    curves = json.loads(capsys.readouterr().out)
    assert curves["crossings"][0]["at"] == pytest.approx(0.749, abs=0.001)
    assert (curves["values"], curves["logarithmic"], len(curves["comparisons"])) == ([0.5, 1.0], False, 2)


def test_rank_over_data_sets(outputs, capsys):
    choices = {"dataset": "avdigits", "fusion": "concat", "encoder.image": "cnn"}
    for strategy, accuracy in (("scratch", 0.7), ("under_score", 0.8)):
        finished(outputs, accuracy, strategy, choices=choices | {"strategy": strategy}, dataset={"labelled": 0.5})
    assert main(["compare", "--rank-over", "dataset"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == (
        "test/accuracy, higher is better; ranks over 2 values of dataset; Wilcoxon's signed ranks 0.0000, p 0.500; "
        "apart: none"
    )
    assert cells(lines[1]) == ["strategy", "mean rank", "avdigits", "digits"]
    assert cells(lines[3]) == ["under_score", "1.00", "0.8000", "0.6500"]
    assert err == "note: 2 data sets: p of the signed ranks cannot be below 0.5\n"
    assert main(["compare", "--rank-over", "dataset", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "strategy,rank,statistic,p,critical,avdigits,digits"


def test_examples_of_two_runs(outputs, capsys):
    names = []
    for strategy, wrong in (("scratch", (0, 1, 2)), ("under_score", (3,))):
        run = finished(outputs, 0.5, strategy, seed=7)
        scores = [[0.9, 0.1] if row not in wrong else [0.1, 0.9] for row in range(5)]
        write_predictions(
            run, "test", [f"r{row}" for row in range(5)], {"label": np.zeros(5, int)}, {"label": np.array(scores)}
        )
        names.append(run.name)
    assert main(["compare", names[1][:-4], names[0], "--examples"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"A = {names[1]}, B = {names[0]}, test rows, each alone (Student's interval)"
    assert cells(lines[3])[:7] == ["label", "accuracy", "5", "-", "0.8000", "0.4000", "+0.4000"]
    assert cells(lines[3])[8:] == ["McNemar, exact", "0.625", "3", "1"]
    assert [cells(line) for line in lines[-2:]] == [["label", "A", "r0, r1, r2"], ["label", "B", "r3"]]
    assert main(["compare", *names, "--examples", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["better_a"] == ["r3"]
    assert main(["compare", names[0], "--examples"]) == 2
    assert (
        capsys.readouterr().err
        == "mmrun: --examples: compares two runs, not 1; name them: mmrun compare A B --examples\n"
    )


def test_examples_by_groups_of_rows(outputs, capsys, tmp_path):
    (tmp_path / "rows.csv").write_text("id,patient,label\n" + "".join(f"r{row},p{row // 2},x\n" for row in range(8)))
    manifest = {"_target_": "mmrun.data.sources.manifest.manifest", "path": str(tmp_path / "rows.csv"), "id": "id"}
    names = []
    for strategy, wrong in (("scratch", (0, 1, 2, 3)), ("under_score", ())):
        dataset = {**manifest, "labelled": 1.0, "group": "patient"}
        run = finished(outputs, 0.5, strategy, seed=7, dataset=dataset)
        scores = np.array([[0.9, 0.1] if row not in wrong else [0.1, 0.9] for row in range(8)])
        write_predictions(run, "test", [f"r{row}" for row in range(8)], {"label": np.zeros(8, int)}, {"label": scores})
        names.append(run.name)
    for words in ([], ["--groups", "patient"]):  # the data set's own group column is the default
        assert main(["compare", *names, "--examples", *words]) == 0
        out, err = capsys.readouterr()
        assert out.splitlines()[0].endswith("test rows, grouped by patient (Student's interval)")
        assert cells(out.splitlines()[3])[2:4] == ["8", "4"]
        assert "permutation of groups" in out
        assert err == "note: with 4 groups p of the permutation test cannot be below 0.125\n"
    assert main(["compare", *names, "--examples", "--groups", "patent"]) == 2
    assert capsys.readouterr().err.startswith("mmrun: --groups patent: rows.csv has no such column; did you mean ")
    assert main(["compare", "--groups", "patient"]) == 2
    assert capsys.readouterr().err == ("mmrun: --groups: belongs to --examples; to compare groups of runs use --by\n")


def test_markdown_ends_with_the_notes(outputs, capsys):
    run = started(outputs, seed=9)
    assert main([*COMPARE, "--format", "md"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == TITLE
    assert lines[2].startswith("| strategy | n | mean | sd | mean's interval | pairs | difference |")
    assert lines[3].startswith("| --- | ---: | ---: |")
    assert lines[5].startswith("| under_score | 3 | 0.6500 | 0.1005 | 0.4003 .. 0.8997 | 3 | +0.0500 \\* |")
    assert lines[7] == "cost of a run"
    note = f"not finished and left out: 1 run ({run.name} (running))"
    assert lines[-1] == f"- Note: {note}"
    assert err == f"note: {note}\n"


def test_latex_is_escaped_and_ends_with_the_notes(outputs, capsys):
    started(outputs, seed=9)
    assert main([*COMPARE, "--format", "latex"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"% {TITLE}"
    assert lines[1:3] == ["\\begin{tabular}{lrrrrrrrrrrr}", "\\toprule"]
    assert lines[3].startswith("strategy & n & mean & sd & mean's interval & pairs &")
    assert lines[6].startswith("under\\_score & 3 & 0.6500 &")
    assert "& $<$0.001 &" in lines[6]
    assert lines[7:9] == ["\\bottomrule", "\\end{tabular}"]
    assert lines[10] == "% cost of a run"
    assert lines[-1].startswith(
        "\\par\\smallskip{\\footnotesize Note: not finished and left out: 1 run (digits-scratch-s9-"
    )


def test_csv_has_full_precision(outputs, capsys):
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


def test_json_has_question_rows_and_notices(outputs, capsys):
    started(outputs, seed=9)
    assert main([*COMPARE, "--format", "json", "--where", "seed=0,1", "dataset=digits"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared["question"] == {
        "metric": "test/accuracy",
        "by": ["strategy"],
        "against": "scratch",
        "paired": ["seed"],
        "test": "t",
        "interval": "t",
        "correct": "holm",
        "match": "budget",
        "amortise": 1,
    }
    assert compared["lower_is_better"] is False
    assert [row["group"] for row in compared["rows"]] == [["scratch"], ["under_score"]]
    assert compared["rows"][1]["difference"] == pytest.approx(0.0505)
    assert compared["rows"][1]["pairs"] == 2
    assert len(compared["notices"]) == 2
    assert compared["notices"][1] == ("fewer than 3 runs, so a very wide interval: scratch (n=2), under_score (n=2)")


def test_a_choice_may_be_written_with_a_slash(outputs, capsys):
    assert main(["compare", "--by", "encoder/image,fusion", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("cnn,concat,6,")


def test_unknown_key_is_a_one_line_error(outputs, capsys):
    assert main(["compare", "--by", "stratgy"]) == 2
    assert capsys.readouterr().err.startswith("mmrun: no run has the key 'stratgy'; did you mean 'strategy'?")
