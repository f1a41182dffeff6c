import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from mmrun.data.infer import MODULE_ATTRIBUTES
from mmrun.data.preprocess.image import Pixels
from mmrun.data.sources.manifest import describe, manifest
from mmrun.errors import ConfigError, DataError


def write(folder, text, name="my.csv"):
    path = folder / name
    path.write_text(text, "utf-8")
    return str(path)


def rows(*lines, count=12):
    """Return a CSV with the header and rows; the last one is repeated until there are `count`."""
    header, *first = lines
    return "\n".join([header, *first, *[first[-1]] * (count - len(first))]) + "\n"


def error_of(kind, *arguments, **keywords):
    with pytest.raises(kind) as error:
        manifest(*arguments, **keywords)
    return str(error.value)


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


def test_columns_and_kinds_can_be_set(media):
    path = write(
        media, rows("front,rear,age,town,note,y", "colour.png,grey.png,31,Rome,hi,1", "colour.jpg,grey.jpg,4,Oslo,ho,0")
    )
    columns = {"front": "front", "back": "rear", "person": ["age", "town"], "words": "note"}
    table = manifest(path, columns, {"words": "text"}, target="y")
    assert {name: column.kind for name, column in table.columns.items()} == {
        "front": "image",
        "back": "image",
        "person": "tabular",
        "words": "text",
    }
    assert table.columns["person"].values[0] == {"age": "31", "town": "Rome"}
    assert table.columns["person"].locations[0] == "my.csv:2: columns 'age', 'town'"


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


def test_series_from_cells(tmp_path):
    lines = "".join(json.dumps({"pulse": [1, 2, row], "label": row % 2}) + "\n" for row in range(12))
    table = manifest(write(tmp_path, lines, "my.jsonl"))
    assert table.columns["pulse"].kind == "series"
    assert table.columns["pulse"].values[3].tolist() == [1.0, 2.0, 3.0]
    quoted = write(tmp_path, rows("pulse,label", '"[1, 2]",0', '"[[3, 4], [5, 6]]",1'))
    assert manifest(quoted).columns["pulse"].values[1].tolist() == [[3.0, 4.0], [5.0, 6.0]]
    assert error_of(DataError, write(tmp_path, rows("pulse,label", '"[1, 2]",0', '"[1, x]",1'))) == (
        "my.csv:3: column 'pulse': '[1, x]' is not a series; write [1.5, 2, ...] or name a .npy file"
    )


@pytest.mark.parametrize(
    ("cells", "task", "names", "first"),
    [
        (["3", "10", "3", "10"], "classification", ["3", "10"], 0),
        (["yes", "no"], "classification", ["no", "yes"], 1),
        ([True, False], "classification", ["false", "true"], 1),
        (["1.5", "2"], "regression", ["label"], 1.5),
        ([0.0, 1.0], "classification", ["0", "1"], 0),  # as pandas writes integers where a cell is empty
        (["1.0", "2.0", "3.0", "4.0", "5.0", "NA"], "classification", ["1", "2", "3", "4", "5"], 0),
        (["2024_01", "2024_02"], "classification", ["2024_01", "2024_02"], 0),
        (["--1", "2"], "classification", ["--1", "2"], 0),
        (["cafe\u0301", "caf\u00e9", "tea "], "classification", ["caf\u00e9", "tea"], 0),
        (list(range(60)), "regression", ["label"], 0.0),
        ([["a", "b"], [], ["c"]], "multilabel", ["a", "b", "c"], [1.0, 1.0, 0.0]),
        ([[0.5, 1], [2, 3]], "regression", ["label_0", "label_1"], [0.5, 1.0]),
    ],
)
def test_the_task_is_inferred_from_the_cells(tmp_path, cells, task, names, first):
    cells = (cells * 12)[: max(12, len(cells))]
    lines = "".join(json.dumps({"text": "hi you", "label": cell}) + "\n" for cell in cells)
    target = manifest(write(tmp_path, lines, "my.jsonl"), {"text": "text"}).targets["label"]
    assert (target.task, target.names) == (task, names)
    assert target.values[0].tolist() == first


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["1.0", "2.0"], "classification (only 2 different whole numbers in 12 rows)"),
        (["1.5", "2.0"], "regression (numbers that are not whole)"),
        (list(map(str, range(12))), "regression (12 different whole numbers in 12 rows)"),
        (["2024_01", "2024_02"], "classification (words)"),
    ],
)
def test_the_inferred_task_is_said_with_the_reason(tmp_path, cells, note):
    path = write(tmp_path, rows("text,label", *[f"hi,{cell}" for cell in cells]))
    assert manifest(path, {"text": "text"}).notes == [f"label: read as {note}; dataset.task=TASK changes it"]
    assert manifest(path, {"text": "text"}, task="classification").notes == []


def test_nearly_equal_names_are_warned_of(tmp_path):
    lines = ["hi,Good,p7", "ho,good,P7", "ha,bad,p8", "he,NA,p9"]
    table = manifest(write(tmp_path, rows("text,label,patient", *lines)), {"text": "text"}, group="patient")
    assert table.warnings == [
        "label: the classes 'Good' and 'good' are nearly equal; if they are one, spell them alike",
        "label: 'NA' is a class; if it marks a missing value, empty those cells",
        "patient: the groups 'P7' and 'p7' are nearly equal; if they are one, spell them alike",
    ]


def test_a_number_far_from_the_others_is_warned_of(tmp_path):
    lines = [f"hi,{20 + row % 40}.5,{'train' if row < 90 else 'val'}" for row in range(100)] + ["ho,9999999,test"]
    path = write(tmp_path, rows("text,age,split", *lines, count=101))
    assert manifest(path, {"text": "text"}, target="age").warnings == [
        "age: 1 of 11 numbers of other rows, such as 9999999, are far from most (21.5 to 57.5); "
        "if they mark missing values, empty those cells"
    ]


def test_decimal_commas_are_warned_of(tmp_path):
    path = write(tmp_path, rows("text;x;label", "hi;1,5;0", "ho;2;1"))
    assert manifest(path, {"text": "text", "x": "x"}).warnings == [
        "column 'x': '1,5' is read as a word; write numbers with a point, as in 1.5"
    ]


def test_groups_are_compared_as_classes_are(tmp_path):
    spellings = ["7", "7 ", "7.0", "e\u0301", "\u00e9"]
    lines = [f"t{row},{row % 2},{spellings[row % 5]}" for row in range(100)] + ["a,0,p1", "b,1,p2"]
    path = write(tmp_path, rows("text,label,patient", *lines, count=102))
    table = manifest(path, {"text": "text"}, group="patient")
    assert set(table.groups) == {"7", "\u00e9", "p1", "p2"}
    for group in ("7", "\u00e9"):
        assert len(set(table.split[table.groups == group])) == 1


def test_columns_are_named_as_they_are_seen(tmp_path):
    path = write(tmp_path, rows("text,cafe\u0301", "hi,0", "ho,1"))
    assert list(manifest(path, {"text": "text"}, target="caf\u00e9").targets) == ["caf\u00e9"]


def test_columns_in_any_script_are_modalities(tmp_path):
    header = "blood pressure,größe,写真,備考,values,2nd,label"
    lines = [f"hi {row},ho {row},ha {row},he {row},hu {row},hy {row},{row % 2}" for row in range(12)]
    path = write(tmp_path, rows(header, *lines))
    names = ["blood_pressure", "grosse", "column", "column_2", "column_values", "column_2nd"]
    assert list(describe(path=path)) == names
    assert manifest(path).notes[1:4] == [
        "column 'blood pressure' is the modality blood_pressure; dataset.columns.NAME=COLUMN names it",
        "column 'größe' is the modality grosse; dataset.columns.NAME=COLUMN names it",
        "column '写真' is the modality column; dataset.columns.NAME=COLUMN names it",
    ]
    assert error_of(ConfigError, path, {"写真": "写真"}) == (
        "dataset.columns: '写真' cannot name a modality; call it column, for example"
    )


def test_names_that_no_module_may_have():
    from torch import nn

    assert set(dir(nn.ModuleDict())) > MODULE_ATTRIBUTES


def test_backslashes_are_for_windows(media):
    (media / "photos").mkdir()
    shutil.copy(media / "colour.png", media / "photos")
    path = write(media, rows("photo,label", "photos\\colour.png,0", "colour.png,1"))
    assert error_of(DataError, path) == (
        "my.csv:2: column 'photo': 'photos\\colour.png' does not exist; write / instead of \\"
    )
    windows_path = path.replace("/", "\\")
    assert error_of(DataError, windows_path) == (f"dataset.path: {windows_path} does not exist; write / instead of \\")


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


def test_classes_of_an_ordinal_target_are_ordered(tmp_path):
    path = write(tmp_path, rows("text,stars,size", "hi,10,small", "ho,2.5,large", "ha,-1,medium"))
    numbers = manifest(path, {"text": "text"}, target="stars", task="ordinal").targets["stars"]
    assert (numbers.task, numbers.names, numbers.values[:3].tolist()) == ("ordinal", ["-1", "2.5", "10"], [2, 1, 0])
    order = ["small", "medium", "large", "huge"]
    words = manifest(path, {"text": "text"}, target="size", task="ordinal", order=order)
    assert (words.targets["size"].names, words.targets["size"].values[:3].tolist()) == (order, [0, 2, 1])
    reverse = manifest(path, {"text": "text"}, target="size", task="ordinal", order=order[::-1])
    assert words.fingerprint != reverse.fingerprint


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (
            None,
            "my.csv: column 'size': 'large' is not a number; give the order with dataset.order=[large,medium,small], "
            "lowest first",
        ),
        (["small", "large"], "my.csv: column 'size': 'medium' is not in dataset.order (small, large); add it"),
    ],
)
def test_ordinal_words_need_an_order(tmp_path, order, message):
    path = write(tmp_path, rows("text,size", "hi,small", "ho,large", "ha,medium"))
    assert error_of(DataError, path, {"text": "text"}, target="size", task="ordinal", order=order) == message


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


def test_a_file_outside_the_root(media):
    inner = media / "inner"
    inner.mkdir()
    path = write(inner, rows("photo,label", "../colour.png,0", "../grey.png,1"))
    assert error_of(DataError, path) == (
        f"my.csv:2: column 'photo': '../colour.png' lies outside {inner}; "
        "set dataset.root=FOLDER or dataset.allow_outside=true"
    )
    assert manifest(path, allow_outside=True).columns["photo"].values[0] == media / "colour.png"
    absolute = write(inner, rows("photo,label", f"{media}/colour.png,0", f"{media}/grey.png,1"))
    assert error_of(DataError, absolute).startswith(f"my.csv:2: column 'photo': '{media}/colour.png' lies outside")
    assert len(manifest(absolute, root=str(media)).ids) == 12
    below = write(inner, rows("photo,label", "colour.png,0", "grey.png,1"))
    assert manifest(below, root=str(media)).columns["photo"].values[0] == media / "colour.png"


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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("9,a,x,holdout", "my.csv:4: column 'split': 'holdout' is not a split; write train, val or test"),
        ("9,a,x,", "my.csv:4: column 'split': is empty; fill it in"),
        ("2,a,x,val", "my.csv:4: column 'id': '2' is also in line 3; ids have to be unique"),
        ("9,a,,val", "my.csv:4: column 'label': is empty, and the row is in val; fill it in, or move it to train"),
        ("9,,x,val", "my.csv:4: text: all are empty; fill one in, or remove the row"),
    ],
)
def test_unusable_rows(tmp_path, line, message):
    more = "".join(f"{row},b,y,test\n" for row in range(10, 20))
    path = write(tmp_path, f"id,text,label,split\n1,a,x,train\n2,b,y,train\n{line}\n{more}")
    assert error_of(DataError, path) == message
    table = manifest(path, on_error="skip")
    assert table.skipped == [message]
    assert len(table.ids) == 12


def test_too_few_rows_to_split(tmp_path):
    path = write(tmp_path, "text,label\na,0\nb,1\n")
    assert error_of(DataError, path) == "my.csv: 2 rows cannot be split into train, val and test; at least 3 are needed"


def test_unusable_targets(tmp_path):
    path = write(tmp_path, rows("text,label", "a,1.5", "b,much", "c,2.5"))
    assert error_of(DataError, path, {"text": "text"}, task="regression") == (
        "my.csv:3: column 'label': 'much' is not a number; correct it, or set dataset.task=classification"
    )
    path = write(tmp_path, rows("text,label", "a,x"))
    assert error_of(DataError, path) == "my.csv: column 'label': all rows are x; a target needs at least two classes"
    path = write(tmp_path, rows("text,label", "a,"))
    assert error_of(DataError, path, {"text": "text"}) == (
        "my.csv: column 'label' is empty; fill it in, or name another with dataset.target"
    )


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
            "dataset.kinds.photo: 'picture' is not a kind; choose one of image, text, audio, tabular, series",
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
        f"dataset.path: {tmp_path}/manifest.csv does not exist; fetch it"
    )
    assert error_of(DataError, write(tmp_path, "a", "my.xlsx")) == (
        f"{tmp_path}/my.xlsx: '.xlsx' is not a supported table format; use one of .csv, .tsv, .jsonl, .ndjson, .parquet"
    )
    assert error_of(DataError, write(tmp_path, "text,label\n")) == (
        f"{tmp_path}/my.csv: has no rows; it needs a header and at least one row"
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
