"""The cells of a file become values, or an error that names the row."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mmrun.data import frames
from mmrun.data.items import FrameList
from mmrun.data.sources.manifest import manifest
from mmrun.errors import DataError
from tests.data.files import error_of, rows, write


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


def test_backslashes_are_for_windows(media):
    (media / "photos").mkdir()
    shutil.copy(media / "colour.png", media / "photos")
    path = write(media, rows("photo,label", "photos\\colour.png,0", "colour.png,1"))
    assert error_of(DataError, path) == (
        "my.csv:2: column 'photo': 'photos\\colour.png' does not exist; write / instead of \\"
    )
    windows_path = path.replace("/", "\\")
    assert error_of(DataError, windows_path) == (f"dataset.path: {windows_path} does not exist; write / instead of \\")


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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("9,a,x,later", "my.csv:4: column 'split': 'later' is not a split; write train, val or test"),
        ("9,a,x,", "my.csv:4: column 'split': is empty; fill it in"),
        ("2,a,x,val", "my.csv:4: column 'id': '2' is also in my.csv:3; ids have to be unique"),
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


@pytest.mark.parametrize(("count", "cell"), [(12, "inf"), (12, "-1e39"), (2000, "Infinity"), (2000, "1e39")])
def test_a_number_to_predict_has_to_be_finite(tmp_path, count, cell):
    path = write(tmp_path, rows("text,label", "a,1.5", "b,NA", f"c,{cell}", "d,2.5", count=count))
    message = (
        f"my.csv:4: column 'label': '{cell}' is infinite or beyond the range of float32; correct it, or empty the cell"
    )
    assert error_of(DataError, path, {"text": "text"}) == message
    assert manifest(path, {"text": "text"}, on_error="skip").skipped == [message]


def test_a_missing_label_of_a_list_is_none(tmp_path):
    lines = ['{"text": "a", "label": ["x", null]}', '{"text": "b", "label": ["y"]}'] * 6
    path = write(tmp_path, "\n".join(lines), "my.jsonl")
    assert manifest(path).targets["label"].names == ["x", "y"]


def test_a_target_without_any_label(tmp_path):
    path = write(tmp_path, '{"text": "a", "label": []}\n' * 12, "my.jsonl")
    assert error_of(DataError, path) == (
        "my.jsonl: column 'label': no row has a label; fill in some, or name another target"
    )


def test_null_in_a_series_is_a_gap(tmp_path):
    lines = "".join(f'{{"wave": [1.5, null, {row}.5], "label": {row % 2}}}\n' for row in range(12))
    values = manifest(write(tmp_path, lines, "my.jsonl")).columns["wave"].values
    np.testing.assert_array_equal(values[3], np.array([1.5, np.nan, 3.5], dtype=np.float32))


def test_a_long_cell_is_quoted_by_its_start(tmp_path):
    path = write(tmp_path, rows("photo,label", f"{'a' * 5000}.png,0", "b.png,1"))
    assert error_of(DataError, path) == (
        f"my.csv:2: column 'photo': '{'a' * 200} ...' does not exist; correct the name, or set dataset.root=FOLDER"
    )


def test_names_that_no_file_can_have(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, '{"photo": "a\\u0000b/1.png", "label": 1}\n' * 12, "my.jsonl")
    assert error_of(DataError, "my.jsonl") == (
        "my.jsonl:1: column 'photo': 'a\\x00b/1.png' is not a file name; give a path below the working folder"
    )


def test_unusable_targets(tmp_path):
    path = write(tmp_path, rows("text,label", "a,NA"))
    assert error_of(DataError, path, {"text": "text"}, task="regression") == (
        "my.csv: column 'label': no row has a number; fill it in, or name another target"
    )
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


def save_clip(folder, numbers=(1, 2, 10)):
    folder.mkdir(parents=True)
    for number in numbers:
        Image.new("L", (8, 8), number).save(folder / f"{number}.png")


def test_a_video_is_a_file_a_folder_of_frames_or_all_their_names(tmp_path):
    save_clip(tmp_path / "clip")
    path = write(tmp_path, rows("video,age,y", "clip,3,1", "clip/2.png|clip/1.png,4,0", "clip/1.png,5,1", "NA,6,0"))
    values = manifest(path=path, target="y").columns["video"].values
    clip = tmp_path / "clip"
    assert values[0] == FrameList([clip / "1.png", clip / "2.png", clip / "10.png"])
    assert values[1] == FrameList([clip / "2.png", clip / "1.png"])
    assert values[2] == clip / "1.png"
    assert values[3] is None


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("a.gif|b.gif", "names 'a.gif' beside other files; a cell holds one video, or names all its frames"),
        ("empty", "'empty' is a folder without an image; name a video, or a folder of its frames"),
        ("hop", "'hop' is a link out of {folder}; copy the file, or set dataset.allow_outside=true"),
        ("../outside", "'../outside' lies outside {folder}; set dataset.root=FOLDER or dataset.allow_outside=true"),
        ("clip/9.png|clip/1.png", "'clip/9.png' does not exist; correct the name, or set dataset.root=FOLDER"),
        ("linked", "'linked/1.png' is a link out of {folder}; copy the file, or set dataset.allow_outside=true"),
    ],
)
def test_a_video_that_cannot_be_read_is_one_line(cell, message, tmp_path):
    folder = tmp_path / "inside"
    save_clip(folder / "clip")
    save_clip(tmp_path / "outside")
    (folder / "empty").mkdir()
    (folder / "linked").mkdir()
    (folder / "hop").symlink_to(tmp_path / "outside")
    (folder / "linked" / "1.png").symlink_to(tmp_path / "outside" / "1.png")
    path = write(folder, rows("video,y", f"{cell},1", "clip,0"))
    message = f"my.csv:2: column 'video': {message.format(folder=folder)}"
    assert error_of(DataError, path=path, target="y") == message


def test_a_folder_of_too_many_frames_is_refused(tmp_path, monkeypatch):
    save_clip(tmp_path / "clip")
    monkeypatch.setattr(frames, "MAX_FRAME_FILES", 2)
    path = write(tmp_path, rows("video,y", "clip,1", "clip,0"))
    message = "my.csv:2: column 'video': 'clip' holds more than 2 frames, which is refused"
    assert error_of(DataError, path=path, target="y") == message
