"""mmrun predict: without the data that the run was trained on."""

import csv
import json
import shutil

import pytest
from pyarrow import parquet

from tests.people import rows, write


def test_new_rows_get_what_the_test_rows_got_bit_for_bit(shell, moved_run, tmp_path):
    write(tmp_path / "new.csv", ["note", "weight", "height", "name"], [r for r in rows() if r[4] == "test"])
    assert shell("predict", moved_run, "new.csv", "-o", "out.parquet", "--embeddings") == (0, "out.parquet\n", "")
    table = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    assert list(table) == ["id", "label", "label=a", "label=b", "age", "embedding"]
    stored = parquet.read_table(moved_run / "predictions" / "test.parquet").to_pydict()
    assert table["id"] == stored["id"]
    assert table["age"] == [age for [age] in stored["age.scores"]]
    assert [list(pair) for pair in zip(table["label=a"], table["label=b"], strict=True)] == [
        list(scores) for scores in stored["label.scores"]
    ]
    assert table["label"] == ["ab"[b > a] for a, b in stored["label.scores"]]
    assert {len(vector) for vector in table["embedding"]} == {128}


def test_the_suffix_of_the_output_decides_its_format(shell, moved_run, tmp_path):
    write(tmp_path / "new.csv", ["note", "weight", "height"], list(rows())[:3])
    for name in ("out.csv", "out.jsonl"):
        assert shell("predict", moved_run, "new.csv", "-o", name) == (0, f"{name}\n", "")
    first = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    second = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["label=a"] for row in first] == [f"{row['label=a']:.9g}" for row in second]
    assert [row["id"] for row in second] == ["new.csv:2", "new.csv:3", "new.csv:4"]
    assert shell("predict", moved_run, "new.csv", "-o", "out.xlsx") == (
        2, "", "mmrun: -o out.xlsx: end the name in .csv, .jsonl, .json, .parquet, or add --format csv|json|parquet\n"
    )  # fmt: skip
    assert shell("predict", moved_run, "new.csv", "--format", "parquet") == (
        2, "", "mmrun: --format parquet: a terminal cannot show it; add -o FILE.parquet\n"
    )  # fmt: skip


def test_a_modality_that_the_file_lacks_is_absent(shell, moved_run, tmp_path):
    write(tmp_path / "new.csv", ["note"], list(rows())[:3])
    code, out, err = shell("predict", moved_run, "new.csv", "--format", "json")
    assert (code, err) == (0, "note: new.csv has no body: predicted without it\n")
    predicted = [json.loads(line) for line in out.splitlines()]
    assert [row["id"] for row in predicted] == ["new.csv:2", "new.csv:3", "new.csv:4"]
    assert all(row["label=a"] + row["label=b"] == pytest.approx(1.0, abs=1e-5) for row in predicted)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["label"], "new.csv: has none of the columns that the run reads (height, weight, note)"),
        (
            ["note", "height"],
            "new.csv: has only some of the columns of 'body', not weight; add these, or remove the others",
        ),
    ],
)
def test_a_file_without_the_columns_is_refused(shell, moved_run, tmp_path, columns, message):
    write(tmp_path / "new.csv", columns, list(rows())[:3])
    assert shell("predict", moved_run, "new.csv") == (2, "", f"mmrun: {message}\n")


def test_a_missing_file_is_refused(shell, moved_run):
    assert shell("predict", moved_run, "gone.csv") == (
        2, "", "mmrun: gone.csv: no such file; pass one with the columns that the run was trained on\n"
    )  # fmt: skip


def test_bad_rows_end_it_or_are_left_out(shell, moved_run, tmp_path):
    cells = [["p0", "190", "60", "a tall one"], ["p1", "high", "61", "a tall one"], ["p2", "150", "62", "short"]]
    write(tmp_path / "new.csv", ["name", "height", "weight", "note"], [])
    with open(tmp_path / "new.csv", "a", newline="") as stream:
        csv.writer(stream).writerows(cells)
    problem = "new.csv:3: columns 'height', 'weight': 'height' is 'high', but it is a number in all training rows"
    mend = "replace it, or leave such rows out with --on-error skip"
    (tmp_path / "out.csv").write_text("earlier")
    assert shell("predict", moved_run, "new.csv", "-o", "out.csv") == (2, "", f"mmrun: {problem}; {mend}\n")
    assert (tmp_path / "out.csv").read_text() == "earlier"
    code, out, err = shell("predict", moved_run, "new.csv", "--on-error", "skip")
    assert (code, err) == (0, f"skipped {problem}\n")
    assert [line.split(",")[0] for line in out.splitlines()] == ["id", "p0", "p2"]


def test_a_damaged_record_is_refused(shell, moved_run, tmp_path):
    shutil.copytree(moved_run, tmp_path / "copy")
    file = tmp_path / "copy" / "fitted.json"
    file.write_text(file.read_text().replace('"kind": "tabular"', '"kind": "text"'))
    write(tmp_path / "new.csv", ["note"], list(rows())[:1])
    code, out, err = shell("predict", "copy", "new.csv")
    assert (code, out) == (1, "")
    assert err == (
        "mmrun: copy/fitted.json: damaged, its bytes changed after they were written; put it back, or remove it: then "
        "mmrun predict needs the training data (if you edited it on purpose, remove its line with the digest)\n"
    )


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        (["modalities", "body", "parts", "numeric", "shape"], [10**9, 10**9], "ValueError: body.numeric has more than"),
        (["modalities", "body", "parts", "numeric", "shape"], [-1], "ValueError: body.numeric is no array"),
        (["modalities", "body", "parts", "numeric", "shape"], [7], "ValueError: could not broadcast"),
        (["modalities", "body", "parts", "numeric", "dtype"], "object", "ValueError: body.numeric is no array"),
        (["modalities", "note", "state", "tokenizer"], "{}", "Exception: "),
        (["tasks", "label", "kind"], "pickle", "KeyError: 'pickle'"),
        (["tasks", "label", "arguments"], {}, "TypeError: "),
    ],
)
def test_a_hostile_record_is_a_line(shell, moved_run, tmp_path, keys, value, reason):
    shutil.copytree(moved_run, tmp_path / "copy")
    file = tmp_path / "copy" / "fitted.json"
    record = json.loads(file.read_text())
    del record["digest"]
    place = record
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    file.write_text(json.dumps(record))
    write(tmp_path / "new.csv", ["note", "height", "weight"], list(rows())[:1])
    code, out, err = shell("predict", "copy", "new.csv")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith(f"mmrun: copy/fitted.json: damaged, it does not fit the run ({reason}")


def test_a_run_of_a_data_set_without_a_file_reads_columns_named_like_its_modalities(shell, tmp_path):
    folder = shell.train("budget.epochs=0.05")
    (tmp_path / "new.csv").write_text("text\nseven\nzwei\n")
    code, out, err = shell("predict", folder, "new.csv")
    assert (code, len(out.splitlines())) == (0, 3)
    assert err == "note: new.csv has no image: predicted without it\n"


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize(
    "chosen",
    [["model=clip", "model.path=model"], ["encoder.text=hf", "encoder.text.model=model", "encoder.image=lenet"]],
)
def test_a_pretrained_model_is_needed_no_more(shell, tiny_model, tmp_path, chosen):
    model = shutil.copytree(tiny_model("clip"), tmp_path / "model")
    shell.words = ["dataset=manifest", "dataset.path=digits/rows.csv", "budget.steps=1", "trainer.progress=false"]
    folder = shell.train(*chosen)
    (tmp_path / "new.csv").write_text("text\nseven\nzwei\n")
    before = shell("predict", folder, "new.csv")
    shutil.rmtree(model)
    assert before[0] == 0
    assert shell("predict", folder, "new.csv") == before
    assert shell("pack", folder, "-o", "run.zip")[0] == 0
    code, out, _ = shell("unpack", "run.zip")
    assert shell("predict", out.strip(), "new.csv") == before
    [config, *_] = sorted((tmp_path / out.strip() / "hub").rglob("config.json"))
    config.write_text(config.read_text().replace("{", '{"auto_map": {}, ', 1))
    code, out, err = shell("predict", out.strip(), "new.csv")
    assert (code, out) == (1, "")
    assert "config.json: damaged" in err
