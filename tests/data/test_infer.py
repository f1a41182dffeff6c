"""Modalities, their kinds and the task, inferred from the cells of a file."""

import json

import pytest

from mmrun.data.infer import MODULE_ATTRIBUTES, infer_kind
from mmrun.data.sources.manifest import describe, manifest
from mmrun.errors import ConfigError, DataError
from tests.data.files import error_of, rows, write


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


@pytest.mark.parametrize(
    ("column", "cells", "kind"),
    [
        ("scan", ["a.bin", "b.bin"], "points"),
        ("scan", ["a.ply", "b.PCD"], "points"),
        ("lidar_top", ["a.npy", "b.npy"], "points"),
        ("PointCloud", ["a.npy", "b.npy"], "points"),
        ("points", ["a.npy", "b.npy"], "points"),
        ("radar", ["a.csv", "b.csv"], "series"),
        ("waypoints", ["a.npy", "b.npy"], "series"),
        ("pulse", ["a.npy", "b.npy"], "series"),
    ],
)
def test_npy_files_are_series_unless_their_column_is_called_like_point_clouds(column, cells, kind):
    assert infer_kind(cells, column)[0] == kind


def test_a_column_of_videos_and_animations_is_video():
    assert infer_kind(["a.mp4", "b.gif", "c.GIF"], "clip") == ("video", "file names")


def test_a_column_of_files_of_several_kinds_is_an_error():
    with pytest.raises(
        DataError,
        match=r"^column 'media' names files of several kinds: image \(2\), video \(1\); dataset\.kinds\.media=image "
        r"dataset\.on_error=skip leaves out the rows of others, dataset\.columns the whole column$",
    ):
        infer_kind(["a.png", "b.gif", "c.mp4"], "media")


def test_the_points_of_a_game_are_numbers(tmp_path):
    path = write(tmp_path, rows("points,y", "31,1", "4,0", "17,1"))
    assert describe(path=path, columns={"points": "points"}, target="y") == {"points": "tabular"}
