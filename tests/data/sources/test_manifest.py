import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from mmrun.data.folders.recognize import LAYOUTS
from mmrun.data.preprocess.image import Pixels
from mmrun.data.sources.manifest import describe, manifest
from mmrun.errors import ConfigError, DataError
from tests.data.files import error_of, rows, write


def test_files_of_every_kind(media):
    path = write(
        media,
        "id,photo,voice,note,ramp,label,split\n"
        "a,colour.png,tone.wav,note.txt,ramp.npy,cat,train\n"
        'b,colour.jpg,tone.flac,"hello, you",ramp.npy,dog,valid\n'
        "c,colour.webp,tone.mp3,no such.txt,ramp.npy,cat,TEST\n"
        "d,,tone.ogg,,,dog,training\n",
    )
    table = manifest(path)
    assert describe(path=path) == {name: column.kind for name, column in table.columns.items()}
    assert describe(path=path) == {"photo": "image", "voice": "audio", "note": "text", "ramp": "series"}
    assert list(table.ids) == ["a", "b", "c", "d"]
    assert table.split.tolist() == ["train", "val", "test", "train"]
    assert table.targets["label"].names == ["cat", "dog"]
    assert table.targets["label"].values.tolist() == [0, 1, 0, 1]
    assert [table.columns["photo"].values[row] for row in range(2)] == [media / "colour.png", media / "colour.jpg"]
    assert list(table.columns["note"].values) == [media / "note.txt", "hello, you", "no such.txt", None]
    assert table.columns["photo"].is_present().tolist() == [True, True, True, False]
    assert table.columns["photo"].locations[3] == "my.csv:5: column 'photo'"
    assert table.root == media
    assert table.on_error == "raise"


def test_numbers_and_categories_are_one_tabular_modality(tmp_path):
    path = write(tmp_path, rows("age,town,remark,label", "31,Rome,I feel fine,0", "4,Oslo,so do I,1"))
    table = manifest(path, kinds={"remark": "text"})
    assert describe(path=path, kinds={"remark": "text"}) == {"tabular": "tabular", "remark": "text"}
    assert table.columns["tabular"].values[1] == {"age": "4", "town": "Oslo"}


def test_a_row_of_empty_cells_is_a_missing_modality(tmp_path):
    path = write(tmp_path, rows("age,size,text,label", "1,2,hi,0", ",,ho,1", "3,,hi,1"))
    table = manifest(path)
    assert [table.columns["tabular"].values[row] for row in range(3)] == [
        {"age": "1", "size": "2"},
        None,
        {"age": "3", "size": None},
    ]


@pytest.mark.parametrize("name", ["my.csv", "my.tsv", "my.jsonl", "my.parquet"])
def test_every_format_gives_the_same_table(tmp_path, name):
    records = [{"text": f"word {row}", "x": row / 2, "label": row % 3} for row in range(30)]
    path = tmp_path / name
    if name.endswith("parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(records), path)
    elif name.endswith("jsonl"):
        path.write_text("".join(json.dumps(record) + "\n\n" for record in records))
    else:
        mark = "," if name.endswith("csv") else "\t"
        lines = [mark.join(map(str, record.values())) for record in records]
        path.write_text("\ufeff" + "\n".join([mark.join(records[0]), *lines]), "utf-8")
    table = manifest(str(path))
    assert table.columns["text"].values[29] == "word 29"
    assert [float(cells["x"]) for cells in table.columns["tabular"].values] == [row / 2 for row in range(30)]
    assert table.targets["label"].values.tolist() == [row % 3 for row in range(30)]
    assert [len(table.rows(split)) for split in ("train", "val", "test")] == [24, 3, 3]


def test_semicolons_quotes_and_index_columns(tmp_path):
    path = write(tmp_path, ';text;label\n0;"a; ""b""\nc";1\n1;plain;0\n' + "2;plain;0\n" * 9)
    table = manifest(path)
    assert list(table.columns) == ["text"]
    assert [table.columns["text"].values[row] for row in range(2)] == ['a; "b"\nc', "plain"]
    assert table.columns["text"].locations[1] == "my.csv:4: column 'text'"


def test_columns_are_named_as_they_are_seen(tmp_path):
    path = write(tmp_path, rows("text,cafe\u0301", "hi,0", "ho,1"))
    assert list(manifest(path, {"text": "text"}, target="caf\u00e9").targets) == ["caf\u00e9"]


def test_a_key_that_only_late_rows_have_is_not_lost(tmp_path):
    lines = ['{"text": "hi", "label": 0}', '{"text": "hi", "label": 1}'] * 550 + ['{"text": "hi", "lable": 1}']
    assert error_of(DataError, write(tmp_path, "\n".join(lines), "my.jsonl"), {"text": "text"}) == (
        "my.jsonl:1101: key 'lable' is in none of the first 1000 rows; write it, or null, in one of them"
    )


def test_tasks_can_be_set_for_several_targets(tmp_path):
    path = write(tmp_path, rows("text,tags,stars,mood", "hi,a|b,1,good", "ho,|,5,bad"))
    table = manifest(
        path, {"text": "text"}, target=["tags", "stars", "mood"], task={"tags": "multilabel", "stars": "regression"}
    )
    assert {name: target.task for name, target in table.targets.items()} == {
        "tags": "multilabel",
        "stars": "regression",
        "mood": "classification",
    }
    assert table.targets["tags"].values[:2].tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert table.targets["stars"].values.dtype == np.float32
    assert manifest(path, {"text": "text"}, target="stars", task="classification").targets["stars"].names == ["1", "5"]


def test_rows_without_a_target_are_for_training(tmp_path):
    path = write(tmp_path, rows("text,label", *["hi,0", "ho,1"] * 15, *["ha,"] * 30, count=60))
    table = manifest(path, {"text": "text"})
    assert (table.targets["label"].values[30:] == -100).all()
    assert (table.split[30:] == "train").all()
    assert [len(table.rows(split)) for split in ("val", "test")] == [3, 3]
    number = manifest(path, {"text": "text"}, task="regression").targets["label"].values
    assert np.isnan(number[30:]).all()


def test_groups_stay_together(tmp_path):
    lines = [f"t{row},{row % 2},p{row // 5}" for row in range(200)]
    path = write(tmp_path, rows("text,label,patient", *lines, count=200))
    table = manifest(path, {"text": "text"}, group="patient")
    by_group = {group: set(table.split[table.groups == group]) for group in table.groups}
    assert all(len(splits) == 1 for splits in by_group.values())
    torn = write(tmp_path, rows("text,label,patient,split", "a,0,p1,train", "b,1,p1,val", "c,1,p2,test"))
    assert error_of(DataError, torn, {"text": "text"}, group="patient") == (
        "my.csv: group 'p1' is in train and in val; keep the rows of a group in one split"
    )
    unknown = write(tmp_path, rows("text,label,patient", "a,0,p1", "b,1,p2", "c,,p3"))
    assert error_of(DataError, unknown, {"text": "text"}, group="patient") == (
        "my.csv: 10 rows have no target, and dataset.group is set; add a split column as well"
    )


BAD = [
    ("photo,label", "gone.png,1", "'gone.png' does not exist; correct the name, or set dataset.root=FOLDER"),
    ("photo,label", "void.png,1", "'void.png' is empty or not a file; replace it"),
    ("photo,label", "folder.png,1", "'folder.png' is empty or not a file; replace it"),
]


@pytest.mark.parametrize(("header", "line", "message"), BAD)
def test_unusable_files(media, header, line, message):
    (media / "void.png").touch()
    (media / "folder.png").mkdir()
    path = write(media, rows(header, "colour.png,0", line, "colour.jpg,1", "grey.png,0"))
    assert error_of(DataError, path) == f"my.csv:3: column 'photo': {message}"
    table = manifest(path, on_error="skip")
    assert table.skipped == [f"my.csv:3: column 'photo': {message}"]
    assert len(table.ids) == 11
    assert "my.csv:3" not in table.ids
    assert table.fingerprint != manifest(write(media, rows(header, "colour.png,0", "colour.jpg,1"))).fingerprint


def test_bytes_that_are_not_utf8(tmp_path):
    path = tmp_path / "my.csv"
    path.write_bytes(b"text,label\nfine,0\ngr\xfc\xdf,1\nfine,1\n" + b"fine,0\n" * 8)
    message = (
        "my.csv:3: column 'text': is not UTF-8 text; as cp1252 it reads 'gr\u00fc\u00df': if that is right "
        "set dataset.encoding=cp1252, else name another, or save it as UTF-8"
    )
    assert error_of(DataError, str(path)) == message
    assert manifest(str(path), on_error="skip").skipped == [message]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "my.csv",
            "text,label\na,b,c\n",
            "my.csv:2: has 3 cells, but the header has 2; quote cells that contain the separator",
        ),
        ("my.csv", "text,text\na,b\n", "my.csv:1: column 'text' occurs twice; rename one"),
        ("my.csv", 'text,label\n"a,b\n', "my.csv:2: unexpected end of data; fix the quotes of this line"),
        ("my.jsonl", '{"text": "a", "label": 1}\n[1]\n', "my.jsonl:2: is not a JSON object; write one object per line"),
        (
            "my.jsonl",
            '{"text": "a", "label": 1}\n{"a"\n',
            "my.jsonl:2: is not JSON (Expecting ':' delimiter: line 2 column 1 (char 5)); write one object per line",
        ),
    ],
)
def test_unusable_lines(tmp_path, name, text, message):
    assert error_of(DataError, write(tmp_path, text, name), {"text": "text"}) == message


def test_too_few_rows_to_split(tmp_path):
    path = write(tmp_path, "text,label\na,0\nb,1\n")
    assert error_of(DataError, path) == "my.csv: 2 rows cannot be split into train, val and test; at least 3 are needed"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (
            {"target": "labl"},
            "dataset.target: my.csv has no column 'labl'; did you mean 'label'? (it has photo, age, label)",
        ),
        (
            {"columns": {"image": "foto"}},
            "dataset.columns.image: my.csv has no column 'foto'; did you mean 'photo'? (it has photo, age, label)",
        ),
        (
            {"target": "age,label"},
            "dataset.target: my.csv has no column 'age,label'; write dataset.target=[age,label] for several columns, "
            "or add -m for several runs (it has photo, age, label)",
        ),
        ({"target": []}, "dataset.target: no column is named; name at least one"),
        ({"group": "patient"}, "dataset.group: my.csv has no column 'patient' (it has photo, age, label)"),
        ({"split": "fold"}, "dataset.split: my.csv has no column 'fold' (it has photo, age, label)"),
        (
            {"kinds": {"photo": "picture"}},
            "dataset.kinds.photo: 'picture' is not a kind; choose one of image, text, audio, tabular, series, video, "
            "points",
        ),
        ({"kinds": {"photos": "image"}}, "dataset.kinds.photos: there is no such modality (there are photo, tabular)"),
        (
            {"columns": {"image": ["photo", "age"]}, "kinds": {"image": "image"}},
            "dataset.columns.image: several columns can only be tabular, not image; name a single one",
        ),
        (
            {"task": "ranking"},
            "dataset.task: label: ranking; the task of a target (label) is one of "
            "classification, ordinal, multilabel, regression",
        ),
        (
            {"order": ["0", "1"]},
            "dataset.order: no target is ordinal; set dataset.task=ordinal, or drop dataset.order",
        ),
        (
            {"task": "ordinal", "order": {"lable": ["0", "1"]}},
            "dataset.order.lable: there is no such ordinal target (there are label)",
        ),
        ({"on_error": "ignore"}, "dataset.on_error: 'ignore'; choose raise or skip"),
    ],
)
def test_keys_that_do_not_fit_the_file(media, keywords, message):
    path = write(media, rows("photo,age,label", "colour.png,3,0", "colour.jpg,4,1"))
    assert error_of(ConfigError, path, **keywords) == message


def test_a_missing_or_unreadable_file(tmp_path):
    assert error_of(DataError, None) == "dataset.path: no file is given; set dataset.path=FILE"
    assert (
        error_of(DataError, f"{tmp_path}/my.csv")
        == f"dataset.path: {tmp_path}/my.csv does not exist; set dataset.path=FILE"
    )
    assert error_of(DataError, str(tmp_path), hint="fetch it") == (
        f"dataset.path: {tmp_path} is no data set that is known. It holds nothing; looked for: {'; '.join(LAYOUTS)}; "
        "fetch it"
    )
    assert error_of(DataError, write(tmp_path, "a", "my.xml")) == (
        f"{tmp_path}/my.xml: '.xml' is not a supported table format; "
        "use one of .csv, .tsv, .txt, .jsonl, .ndjson, .json, .parquet, .arrow, .xlsx"
    )
    assert error_of(DataError, write(tmp_path, "text,label\n")) == (
        "my.csv: has no rows; it needs a header and at least one row"
    )
    assert error_of(DataError, write(tmp_path, "no parquet", "my.parquet")) == (
        "my.parquet: is damaged or not a Parquet file (ArrowInvalid); write it again"
    )
    assert error_of(DataError, write(tmp_path, "void,label\n,1\n,0\n,0\n")) == (
        "my.csv: column 'void' is empty in the first 1000 rows; "
        "set its kind with dataset.kinds.void=KIND, or leave it out of dataset.columns"
    )


def test_the_fingerprint_depends_on_content_but_not_on_the_path(media, tmp_path_factory):
    text = rows("photo,text,label", "colour.png,hi,0", "colour.jpg,ho,1")
    table = manifest(write(media, text))
    moved = tmp_path_factory.mktemp("moved") / "elsewhere"
    shutil.copytree(media, moved)
    assert manifest(str(moved / "my.csv")).fingerprint == table.fingerprint
    assert manifest(str(moved / "my.csv"), split_seed=1).fingerprint == table.fingerprint
    assert manifest(str(moved / "my.csv"), {"photo": "photo"}).fingerprint != table.fingerprint
    (moved / "colour.png").write_bytes((moved / "colour.webp").read_bytes())
    assert manifest(str(moved / "my.csv")).fingerprint != table.fingerprint
    assert manifest(write(media, text.replace("hi", "he"))).fingerprint != table.fingerprint


def test_the_split_is_a_function_of_its_seed(tmp_path):
    path = write(tmp_path, rows("text,label", *[f"t{row},{row % 2}" for row in range(100)], count=100))
    first, same, different = (manifest(path, {"text": "text"}, split_seed=seed).split for seed in (0, 0, 1))
    assert (first == same).all()
    assert (first != different).any()


def test_a_folder_with_a_manifest(tmp_path):
    write(tmp_path, rows("text,label", "a,0", "b,1"), "manifest.csv")
    assert manifest(str(tmp_path), {"text": "text"}).ids[0] == "manifest.csv:2"


def test_training_rows_can_be_decoded(media):
    table = manifest(write(media, rows("photo,label", "colour.png,0", "grey.png,1")))
    pixels = Pixels(8)
    pixels.fit(table.columns["photo"], table.rows("train"))
    assert pixels.decode(table.columns["photo"].values[1])[""].shape == (3, 8, 8)


def test_describing_a_file_imports_no_torch(tmp_path):
    path = write(tmp_path, rows("text,label", "a,0", "b,1"))
    code = (
        "import sys; from mmrun.data.sources.manifest import describe; "
        f"print(describe(path={path!r}, columns={{'words': 'text'}}, on_error='raise'), 'torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=os.getcwd(), check=True)
    assert printed.stdout == "{'words': 'tabular'} False\n"
