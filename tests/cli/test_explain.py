"""mmrun explain: a page and its numbers, without the data that the run was trained on."""

import json
import re
import shutil

import numpy as np
import pytest

from tests.people import COLUMNS, rows, write

INPUTS = ["note", "height", "weight"]


def write_rows(file, notes):
    """Write rows that have a note alone."""
    file.write_text("note,label\n" + "".join(f'"{note}",{label}\n' for note, label in notes), "utf-8")


def test_errors_come_first_and_contributions_add_up(shell, moved_run, tmp_path):
    selected = [[*row[:5], "ab"[number % 2], row[6]] for number, row in enumerate(list(rows())[:12])]
    write(tmp_path / "new.csv", COLUMNS, selected)
    code, out, err = shell("explain", moved_run, "new.csv", "-o", "why.json", "--rows", "8")
    assert (code, out) == (0, "why.json\n")
    assert err.splitlines()[0] == "note: explained 'label'; --target age explains another target"
    assert err.splitlines()[-1] == (
        "8 of 12 rows explained one by one: the most confident errors first, then the least confident of the other rows"
    )
    document = json.loads((tmp_path / "why.json").read_text())
    assert (document["target"], document["outputs"], document["rows"]) == ("label", ["a", "b"], 12)
    assert document["metric"]["name"] == "accuracy"
    explained = document["explained"]
    are_errors = [row["prediction"] != row["truth"] for row in explained]
    assert are_errors == sorted(are_errors, reverse=True)
    for row in explained:
        added = sum(row["contributions"].values())
        assert added == pytest.approx(row["scores"][row["explained"]] - row["empty_score"], abs=1e-5)
        assert row["saliency"]["note"]["names"] in (["a", "short", "one"], ["a", "tall", "one"])
        assert row["saliency"]["body"]["names"] == ["height", "weight"]


def test_the_page_holds_all_and_runs_nothing(shell, moved_run, tmp_path):
    write_rows(tmp_path / "<script>.csv", [("a tall one <script>alert(1)</script> & <img src=x onerror=y>", "a")])
    assert shell("explain", moved_run, "<script>.csv")[:2] == (0, "explained.html\n")
    page = (tmp_path / "explained.html").read_text("utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    text = re.sub(r"<[^>]+>", "", page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;img src=x onerror=y&gt;" in text
    assert "(without body)" in text


def test_numbers_are_explained_too(shell, moved_run, tmp_path):
    write(tmp_path / "new.csv", [*INPUTS, "age"], list(rows())[:6])
    code, out, err = shell(
        "explain", moved_run, "new.csv", "--format", "json", "--target", "age", "--method", "occlusion"
    )
    assert (code, "largest errors first" in err) == (0, True)
    document = json.loads(out)
    assert document["metric"]["name"] == "r2"
    assert {row["saliency"]["body"]["method"] for row in document["explained"]} == {"occlusion"}
    errors = [abs(float(row["truth"]) - row["scores"]["age"]) for row in document["explained"]]
    assert errors == sorted(errors, reverse=True)


def test_rows_without_targets_are_the_most_and_the_least_confident(shell, moved_run, tmp_path):
    write(tmp_path / "new.csv", INPUTS, list(rows())[:9])
    code, out, err = shell("explain", moved_run, "new.csv", "--format", "json", "--rows", "2")
    assert (code, "the most and the least confident predictions in turn" in err) == (0, True)
    document = json.loads(out)
    predicted = [
        json.loads(line) for line in shell("predict", moved_run, "new.csv", "--format", "json")[1].splitlines()
    ]
    confidence = {row["id"]: max(row["label=a"], row["label=b"]) for row in predicted}
    assert document["metric"] is None
    assert [row["truth"] for row in document["explained"]] == [None, None]
    assert [confidence[row["id"]] for row in document["explained"]] == [
        max(confidence.values()), min(confidence.values())
    ]  # fmt: skip


def test_bad_rows_end_it_or_are_left_out(shell, moved_run, tmp_path):
    (tmp_path / "new.csv").write_text("note,height,weight\na tall one,190,60\nshort,high,61\n,,\n")
    (tmp_path / "explained.html").write_text("earlier")
    problem = "new.csv:3: columns 'height', 'weight': 'height' is 'high', but it is a number in all training rows"
    code, out, err = shell("explain", moved_run, "new.csv")
    assert (code, out) == (2, "")
    assert (tmp_path / "explained.html").read_text() == "earlier"
    code, out, err = shell("explain", moved_run, "new.csv", "--on-error", "skip")
    assert code == 0
    assert f"skipped {problem}" in err.splitlines()
    assert any(line.startswith("skipped new.csv:4: ") for line in err.splitlines())
    assert "2 rows were left out" in (tmp_path / "explained.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "labels"], "--target labels: the run has no such target; did you mean 'label'? "
         "(there are label, age); name a class as TARGET=CLASS"),
        (["--target", "label=c"], "--target label=c: 'label' has no 'c' (there are a, b)"),
        (["-o", "why.pdf"], "-o why.pdf: end the name in .html, .htm, .json, or add --format html|json"),
        (["-o", "gone/why.html"], "-o gone/why.html: there is no folder gone"),
        (["--rows", "0"], "argument --rows: 0 is not a whole number from 1 to 1000 (see `mmrun explain -h`)"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(shell, moved_run, tmp_path, words, message):
    write(tmp_path / "new.csv", INPUTS, list(rows())[:3])
    assert shell("explain", moved_run, "new.csv", *words) == (2, "", f"mmrun: {message}\n")


def test_a_run_that_recorded_nothing_needs_its_data(shell, moved_run, tmp_path):
    shutil.copytree(moved_run, tmp_path / "copy")
    (tmp_path / "copy" / "fitted.json").unlink()
    write(tmp_path / "new.csv", INPUTS, list(rows())[:3])
    code, out, err = shell("explain", "copy", "new.csv")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "rows.csv" in err


def test_another_class_gets_the_opposite_contributions(shell, moved_run, tmp_path):
    write(tmp_path / "new.csv", INPUTS, list(rows())[:3])
    values = []
    for name in ("a", "b"):
        out = shell("explain", moved_run, "new.csv", "--format", "json", "--target", f"label={name}")[1]
        values.append([row["contributions"]["body"] for row in json.loads(out)["explained"]])
    np.testing.assert_allclose(values[0], -np.array(values[1]), atol=1e-5)


def test_a_report_links_to_the_explanations_of_a_run(shell, moved_run, tmp_path):
    write(tmp_path / "new.csv", COLUMNS, list(rows())[:6])
    code, out, _ = shell("report", moved_run, "--show", moved_run, "--explain", "new.csv", "-o", "some/report.html")
    (page,) = (tmp_path / "some").glob("*-explained.html")
    assert (code, out) == (0, f"some/{page.name}\n")
    assert "Shapley" in page.read_text("utf-8")
    assert f'<a href="{page.name}">' in (tmp_path / "some" / "report.html").read_text("utf-8")
