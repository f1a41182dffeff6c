"""mmrun data clean: what is left out, what is written, and what is refused."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from mmrun.cli import main
from mmrun.data.sources.manifest import manifest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder `data` with 40 different images and a manifest in which some rows are no good."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "img").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for row in range(40):
        Image.fromarray(rng.integers(0, 255, (9, 9, 3)).astype(np.uint8)).save(f"data/img/{row}.png")
        split = "train" if row < 20 else "val" if row < 30 else "test"
        lines.append(f"img/{row}.png,{'ab'[row % 2]},{split}")
    lines[3] = lines[5]  # the later one is a duplicate
    lines[4] = "img/30.png,a,train"  # a leak
    (tmp_path / "data/img/6.png").write_bytes(b"no image")
    lines[7] = "img/none.png,b,train"
    Image.new("RGB", (9, 9)).save("data/img/8.png")
    lines[9] = "img/11.png,a,train"  # a conflict
    (tmp_path / "data/my.csv").write_text("photo,label,split\n" + "\n".join(lines) + "\n")
    return tmp_path


def clean(capsys, *arguments):
    code = main(["data", "clean", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def read_dropped(file):
    with open(file, newline="") as stream:
        return [(row["row"], row["kind"]) for row in csv.DictReader(stream)]


def test_rows_are_left_out_and_listed(folder, capsys):
    before = (folder / "data/my.csv").read_bytes()
    code, printed, _ = clean(capsys, "data/my.csv", "-o", "clean.csv")
    assert code == 0
    assert read_dropped("clean.dropped.csv") == [
        ("my.csv:6", "leaks"),
        ("my.csv:7", "duplicates"),
        ("my.csv:8", "unreadable"),
        ("my.csv:9", "unreadable"),
    ]
    reasons = (folder / "clean.dropped.csv").read_text().splitlines()
    assert reasons[1] == 'my.csv:6,leaks,"rows that equal one of val or test, or of val one of test"'
    assert reasons[3] == (
        "my.csv:8,unreadable,photo: cells that cannot be read: column 'photo': 6.png is damaged or not an image "
        "(UnidentifiedImageError)"
    )
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "train 19 16" in lines
    assert lines[-1] == "to train: mmrun train dataset=clean.csv"
    assert (folder / "data/my.csv").read_bytes() == before


def test_file_names_of_the_copy_lead_to_the_same_files(folder, capsys):
    clean(capsys, "data/my.csv", "-o", "clean.csv")
    table = manifest("clean.csv")
    assert table.columns["photo"].values[0] == folder / "data/img/0.png"
    assert clean(capsys, "clean.csv", "-o", "again.csv")[1].startswith("no row is left out")
    assert (folder / "again.csv").read_bytes() == (folder / "clean.csv").read_bytes()


def test_file_names_outside_the_folder_of_the_copy_stay_and_the_command_says_where_they_start(folder, capsys):
    (folder / "other").mkdir()
    _, printed, _ = clean(capsys, "data/my.csv", "-o", "other/clean.csv", "--format", "json")
    assert json.loads(printed)["train"] == (f"mmrun train dataset=other/clean.csv dataset.root={folder}/data")
    table = manifest("other/clean.csv", root=str(folder / "data"))
    assert table.columns["photo"].values[0] == folder / "data/img/0.png"


def test_kinds_are_dropped_and_kept_on_request(folder, capsys):
    arguments = ["--drop", "blank", "--drop", "conflicts", "--keep", "leaks", "--keep", "duplicates"]
    assert clean(capsys, "data/my.csv", "-o", "clean.csv", *arguments)[0] == 0
    assert read_dropped("clean.dropped.csv") == [
        ("my.csv:8", "unreadable"),
        ("my.csv:9", "unreadable"),
        ("my.csv:10", "blank"),
        ("my.csv:11", "conflicts"),
        ("my.csv:13", "conflicts"),
    ]


@pytest.mark.parametrize("name", ["clean.jsonl", "clean.parquet", "clean.tsv"])
def test_other_formats(folder, capsys, name):
    assert clean(capsys, "data/my.csv", "-o", name)[0] == 0
    assert len(manifest(name).ids) == 36


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "clean.xls"], "-o clean.xls: '.xls' is not written; name a .csv, .tsv, .jsonl, .parquet file"),
        (["-o", "none/clean.csv"], "-o none/clean.csv: there is no folder none"),
        (
            ["-o", "data/my.csv"],
            "-o data/my.csv: data/my.csv exists, and is not overwritten; remove it, or name another file",
        ),
        (
            ["-o", "x.csv", "--drop", "near_duplicates"],
            "--drop: no kind 'near_duplicates'; did you mean 'near-duplicates'? (there are unreadable, duplicates, "
            "leaks, near-duplicates, shared, near-shared, conflicts, labels, blank, silent, clipped, "
            "not-finite, empty)",
        ),
        (
            ["-o", "x.csv", "--drop", "leaks", "--keep", "leaks"],
            "--drop leaks: is also kept; drop one of the two flags",
        ),
        (
            ["-o", "x.csv", "target=lable"],
            "dataset.target: my.csv has no column 'lable'; did you mean 'label'? (it has photo, label, split)",
        ),
    ],
)
def test_what_is_refused(folder, capsys, arguments, message):
    assert clean(capsys, "data/my.csv", *arguments) == (2, "", f"mmrun: {message}\n")
    assert sorted(path.name for path in folder.iterdir()) == ["data"]


def test_a_list_that_exists_is_not_overwritten(folder, capsys):
    (folder / "clean.dropped.csv").write_text("mine")
    code, _, error = clean(capsys, "data/my.csv", "-o", "clean.csv")
    assert (code, error.startswith("mmrun: -o clean.csv: clean.dropped.csv exists")) == (2, True)
    assert not (folder / "clean.csv").exists()


def test_nothing_is_written_if_no_row_of_a_split_would_be_left(folder, capsys):
    lines = (folder / "data/my.csv").read_text().splitlines()
    for row in range(20, 30):
        lines[row + 1] = f"img/{row + 10}.png,{'ab'[row % 2]},val"  # all of val are in test
    (folder / "data/my.csv").write_text("\n".join(lines) + "\n")
    code, _, error = clean(capsys, "data/my.csv", "-o", "clean.csv")
    assert (code, error) == (2, "mmrun: no row of val would be left; nothing is written\n")
    assert sorted(path.name for path in folder.iterdir()) == ["data"]


def test_lists_are_written_as_json_only(folder, capsys):
    rows = [json.dumps({"pulse": [row, 2, row % 5], "label": "ab"[row % 2]}) for row in range(60)]
    (folder / "my.jsonl").write_text("\n".join(rows))
    code, _, error = clean(capsys, "my.jsonl", "-o", "clean.csv")
    assert (code, error) == (2, "mmrun: -o clean.csv: column 'pulse' holds lists; name a .jsonl file\n")
    assert clean(capsys, "my.jsonl", "-o", "clean.jsonl")[0] == 0
    assert (folder / "clean.jsonl").read_text().splitlines()[0] == '{"pulse": [0, 2, 0], "label": "a"}'
