"""mmrun eval --data: metrics on another labelled file, without the data that the run was trained on."""

import json

import pytest

from tests.people import COLUMNS, rows, write


def change(row, **cells):
    return [cells.get(name, cell) for name, cell in zip(COLUMNS, row, strict=True)]


def test_the_test_rows_in_a_file_of_their_own_get_the_metrics_of_the_run(shell, moved_run, tmp_path):
    write(tmp_path / "new.csv", COLUMNS, [row for row in rows() if row[4] == "test"])
    code, out, err = shell("eval", moved_run, "--data", "new.csv", "--format", "json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    test = json.loads((moved_run / "metrics.json").read_text())["metrics"]["test"]
    assert result["rows"] == 40
    for name in ("label", "age"):
        metrics = result["tasks"][name]["metrics"]
        assert {f"{name}.{metric}": value for metric, value in metrics.items()} == {
            key: value for key, value in test.items() if key.startswith(f"{name}.")
        }
    assert list(result["tasks"]["label"]["per_class"]) == ["a", "b"]


def test_a_class_that_the_run_does_not_know_is_named_and_left_out(shell, moved_run, tmp_path):
    some = list(rows())[:8]
    some[1] = change(some[1], label="z")
    some[2] = change(some[2], label="")
    write(tmp_path / "new.csv", COLUMNS, some)
    code, out, err = shell("eval", moved_run, "--data", "new.csv")
    assert code == 0
    assert err == (
        "note: target 'label': 1 rows have a class that the run does not know ('z'); they are left out of the metrics\n"
    )
    assert "8 rows of new.csv" in out
    assert "label: 6 rows with this target" in out
    assert "age: 8 rows with this target" in out


@pytest.mark.parametrize(
    ("columns", "arguments", "message"),
    [
        (["note"], [], "new.csv: has no column label or age to compare predictions with"),
        (COLUMNS, ["--split", "val"], "--data: cannot be combined with --split, which concern the run's own rows"),
        (COLUMNS, ["--missing", "note"], "--data: cannot be combined with --missing, which concern the run's own rows"),
        (["label"], [], "new.csv: has none of the columns that the run reads (height, weight, note)"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(shell, moved_run, tmp_path, columns, arguments, message):
    write(tmp_path / "new.csv", columns, list(rows())[:3])
    assert shell("eval", moved_run, "--data", "new.csv", *arguments) == (2, "", f"mmrun: {message}\n")


def test_a_number_that_is_a_word_ends_it_or_is_left_out(shell, moved_run, tmp_path):
    some = list(rows())[:8]
    some[3] = change(some[3], age="old")
    write(tmp_path / "new.csv", COLUMNS, some)
    problem = "new.csv:5: column 'age': 'old' is not a number; correct it, or set dataset.task=classification"
    assert shell("eval", moved_run, "--data", "new.csv") == (2, "", f"mmrun: {problem}\n")
    code, out, err = shell("eval", moved_run, "--data", "new.csv", "--on-error", "skip", "--format", "json")
    assert (code, err) == (0, f"skipped {problem}\n")
    assert json.loads(out)["tasks"]["age"]["rows"] == 7


@pytest.mark.parametrize("option", [["--root", "."], ["--on-error", "skip"]])
def test_options_of_a_file_need_one(shell, moved_run, option):
    assert shell("eval", moved_run, *option) == (
        2, "", "mmrun: --root and --on-error: belong to --data FILE; add it, or drop them\n"
    )  # fmt: skip


@pytest.mark.parametrize(("option", "name"), [(["--fill", "zeros"], "--fill"), (["--split", "val"], "--split")])
def test_options_of_the_runs_own_rows_go_without_a_file(shell, moved_run, option, name):
    assert shell("eval", moved_run, "--data", "new.csv", *option) == (
        2, "", f"mmrun: --data: cannot be combined with {name}, which concern the run's own rows\n"
    )  # fmt: skip
