import csv
import json

import pytest
from pyarrow import parquet

COLUMNS = ["name", "height", "weight", "note", "split", "label", "age"]
WORDS = [
    *("dataset=manifest", "dataset.path=rows.csv", "dataset.target=[label,age]", "dataset.id=name"),
    *("dataset.columns={body:[height,weight],note:note}", "dataset.kinds={body:tabular,note:text}"),
]


def rows(number=160):
    for row in range(number):
        label = row // 4 % 2
        note = f"a {('short', 'tall')[label]} one"
        split = ("train", "train", "val", "test")[row % 4]
        yield [f"p{row}", 150 + 40 * label + row % 7, 60 + row % 5, note, split, "ab"[label], 20.5 + row % 9]


def write(file, columns, selected):
    with open(file, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([dict(zip(COLUMNS, row, strict=True))[name] for name in columns] for row in selected)


@pytest.fixture
def run(shell, tmp_path):
    write(tmp_path / "rows.csv", COLUMNS, rows())
    code, out, err = shell("train", *WORDS, "budget.epochs=1", "trainer.progress=false")
    assert code == 0, err
    return tmp_path / out.split()[-1]


def test_new_rows_get_what_the_test_rows_got(shell, run, tmp_path):
    write(tmp_path / "new.csv", ["note", "weight", "height", "name"], [r for r in rows() if r[4] == "test"])
    assert shell("predict", run, "new.csv", "-o", "out.csv") == (0, "out.csv\n", "")
    told = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert list(told[0]) == ["id", "label", "label=a", "label=b", "age"]
    stored = parquet.read_table(run / "predictions" / "test.parquet").to_pydict()
    assert [row["id"] for row in told] == stored["id"]
    for row, label, age in zip(told, stored["label.scores"], stored["age.scores"], strict=True):
        assert [float(row["label=a"]), float(row["label=b"])] == pytest.approx(label, abs=1e-5)
        assert row["label"] == "ab"[label[1] > label[0]]
        assert float(row["age"]) == pytest.approx(age[0], abs=1e-3)


def test_a_modality_that_the_file_lacks_is_absent(shell, run, tmp_path):
    write(tmp_path / "new.csv", ["note"], list(rows())[:3])
    code, out, err = shell("predict", run, "new.csv", "--format", "json")
    assert (code, err) == (0, "note: new.csv has no body: predicted without it\n")
    told = [json.loads(line) for line in out.splitlines()]
    assert [row["id"] for row in told] == ["new.csv:2", "new.csv:3", "new.csv:4"]
    assert all(row["label=a"] + row["label=b"] == pytest.approx(1.0, abs=1e-5) for row in told)


def test_what_cannot_be_predicted(shell, run, tmp_path):
    for columns, said in [
        (["label"], "new.csv: has none of the columns that the run reads (height, weight, note)"),
        (
            ["note", "height"],
            "new.csv: has only some of the columns of 'body', not weight; add these, or remove the others",
        ),
    ]:
        write(tmp_path / "new.csv", columns, list(rows())[:3])
        assert shell("predict", run, "new.csv") == (2, "", f"mmrun: {said}\n")
    assert shell("predict", run, "gone.csv") == (
        2, "", "mmrun: gone.csv: no such file; pass one with the columns that the run was trained on\n"
    )  # fmt: skip


def test_a_run_that_has_no_file_of_its_own_cannot_tell_what_another_holds(shell, tmp_path):
    folder = shell.train("budget.epochs=0.05")
    (tmp_path / "new.csv").write_text("image\nx.png\n")
    said = f"mmrun: {folder.name}: was not trained on dataset=manifest, so it cannot predict a file\n"
    assert shell("predict", folder, "new.csv") == (2, "", said)
