"""mmrun data split: the file, the table, and what it refuses."""

import json

import pytest

from mmrun.cli import main

ROWS = "text;who;label\n" + "".join(f"word {row};p{row // 2};{'ab'[row % 2]}\n" for row in range(40))


@pytest.fixture(autouse=True)
def rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.csv").write_text(ROWS)


def run(capsys, *words):
    code = main(["data", "split", *words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_split_stands_beside_the_cells(capsys, tmp_path):
    code, printed, _ = run(capsys, "my.csv", "-o", "new.csv", "--val", "0.2", "--seed", "1")
    assert code == 0
    assert "train     28   70.0%" in printed
    assert printed.endswith("to train: mmrun train dataset=manifest dataset.path=new.csv\n")
    lines = (tmp_path / "new.csv").read_text().splitlines()
    assert [line.rpartition(";")[0] for line in lines] == ROWS.splitlines()
    assert sorted(line.rpartition(";")[2] for line in lines) == ["split", *["test"] * 4, *["train"] * 28, *["val"] * 8]
    assert (tmp_path / "my.csv").read_text() == ROWS


def test_folds_of_groups_as_json(capsys, tmp_path):
    code, printed, _ = run(capsys, "my.csv", "group=who", "-o", "new.csv", "--folds", "4", "--format", "json")
    answer = json.loads(printed)
    assert code == 0
    assert answer["parts"][0] == {"part": "0", "rows": 10, "share": 0.25, "groups": 5, "label.a": 5, "label.b": 5}
    assert answer["train"] == (
        "mmrun train -m dataset=manifest dataset.path=new.csv dataset.group=who 'dataset.fold=range(4)'"
    )


def test_a_copy_elsewhere_names_the_folder_of_the_files(capsys, tmp_path):
    (tmp_path / "there").mkdir()
    _, printed, _ = run(capsys, "my.csv", "-o", "there/new.csv", "--column", "part", "--labelled", "0.5")
    command = "mmrun train dataset=manifest dataset.path=there/new.csv dataset.split=part dataset.root=."
    assert printed.splitlines()[-1] == f"to train: {command}"
    assert (tmp_path / "there" / "new.csv").read_text().startswith("text;who;label;part;labelled\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "my.csv"], "-o my.csv: exists, and is not overwritten; remove it, or name another file"),
        (["-o", "new.jsonl"], "-o new.jsonl: the format stays that of my.csv; name a .csv file"),
        (["-o", "no/new.csv"], "-o no/new.csv: there is no folder no"),
        (
            ["-o", "new.csv", "--column", "who"],
            "my.csv: has a column 'who' already; rename or remove it, or name the new one with --column NAME",
        ),
        (
            ["-o", "new.csv", "--folds", "3", "--val", "0.1"],
            "--folds: --val and --test belong to splits; one fold is for testing, the next for validation",
        ),
        (
            ["-o", "new.csv", "--group", "text", "group=who"],
            "--group: text, but the overrides say group=who; drop one of them",
        ),
        (["-o", "new.csv", "--labelled", "a"], "--labelled: 'a' is not a number; write for example 0.01,0.1"),
        (
            ["-o", "new.csv", "target=lable"],
            "target: my.csv has no column 'lable'; did you mean 'label'? (it has text, who, label)",
        ),
    ],
)
def test_what_is_refused(capsys, tmp_path, words, message):
    code, _, printed = run(capsys, "my.csv", *words)
    assert (code, printed) == (2, f"mmrun: {message}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["my.csv"]
