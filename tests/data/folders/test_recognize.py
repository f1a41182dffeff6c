"""A path is recognised as what it is; the same pictures are the same data, however they are laid out."""

import shutil

import numpy as np
import pytest
from PIL import Image

from mmrun.data.file_digests import FileDigests
from mmrun.data.preprocess.image import Pixels
from mmrun.data.preprocess.video import Frames
from mmrun.data.sources.manifest import manifest
from tests.data.folders.trees import LAYOUTS, read_tree, write_shards, write_tree


@pytest.fixture
def tree(tmp_path):
    write_tree(tmp_path / "tree")
    return tmp_path / "tree"


def decode(table):
    pixels = Pixels(size=12)
    pixels.fit(table.columns["image"], table.rows("train"))
    return np.stack([pixels.decode(value)[""] for value in table.columns["image"].values])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_pictures_give_the_same_tensors(tmp_path, tree, layout):
    digests = FileDigests(tmp_path / "cache" / "files.sqlite")
    table = manifest(LAYOUTS[layout](tmp_path, tree), digests=digests)
    plain = manifest(str(tree))
    assert table.split.tolist() == ["test"] * 4 + ["train"] * 16 + ["val"] * 4
    assert table.targets["label"].names == ["cat", "dog"]
    assert np.array_equal(table.targets["label"].values, plain.targets["label"].values)
    assert np.array_equal(decode(table), decode(plain))


def test_what_is_read_and_what_is_not_is_said(tmp_path, tree):
    (tree / "notes.pdf").write_bytes(b"1")
    (tree / ".DS_Store").write_bytes(b"1")
    (tree / "train" / "horse").mkdir()
    (tree / "stray.png").write_bytes((tree / "val/cat/0.png").read_bytes())
    assert manifest(str(tree)).notes[:2] == [
        "tree: read as folders by split and class, 24 rows of image",
        "tree: not read: 2 files (notes.pdf, stray.png), 1 empty folder (train/horse), 1 hidden file (.DS_Store)",
    ]


def test_rows_are_named_by_their_files(tree):
    table = manifest(str(tree))
    assert table.ids[5] == "train/cat/1.png"
    assert table.columns["image"].locations[5] == "train/cat/1.png: column 'image'"


def test_files_of_one_name_are_one_row(tmp_path, media):
    for label in ("a", "b"):
        (tmp_path / "pairs" / label).mkdir(parents=True)
        for number in range(6):
            for source, name in (("colour.png", "jpg.png"), ("tone.wav", "wav")):
                target = tmp_path / "pairs" / label / f"{number}.{name}"
                target.write_bytes((media / source).read_bytes())
    for file in (tmp_path / "pairs").rglob("*.jpg.png"):
        file.rename(file.with_name(file.name.replace(".jpg", "")))
    (tmp_path / "pairs" / "a" / "0.wav").unlink()
    (tmp_path / "pairs" / "a" / "licence.txt").write_text("free")
    table = manifest(str(tmp_path / "pairs"))
    assert {name: column.kind for name, column in table.columns.items()} == {"audio": "audio", "image": "image"}
    assert (table.ids[0], table.columns["audio"].values[0]) == ("a/0", None)
    assert "pairs: not read: 1 file (a/licence.txt)" in table.notes


def test_shards_by_a_range_of_numbers(tmp_path, tree):
    shards = tmp_path / write_shards(tmp_path, tree)
    for number, split in enumerate(("test", "train", "val")):
        (shards / f"{split}-000.tar").rename(shards / f"part-{number:02}.tar")
    table = manifest(str(shards / "part-{00..02}.tar"))
    assert table.ids[4] == "part-01/0000"
    assert len(table.ids) == 24
    assert "split" not in table.columns


def test_an_archive_is_unpacked_once_into_the_cache(tmp_path, tree):
    digests = FileDigests(tmp_path / "cache" / "files.sqlite")
    path = LAYOUTS["zip"](tmp_path, tree)
    first = manifest(path, digests=digests)
    [folder] = (tmp_path / "cache" / "archives").iterdir()
    before = {name: (folder / "tree" / name).stat().st_mtime_ns for name in read_tree(folder / "tree")}
    second = manifest(path, digests=digests)
    assert before == {name: (folder / "tree" / name).stat().st_mtime_ns for name in read_tree(folder / "tree")}
    assert first.fingerprint == second.fingerprint == manifest(str(tree)).fingerprint


def test_another_content_is_another_fingerprint(tmp_path, tree):
    path = write_shards(tmp_path, tree)
    before = manifest(path).fingerprint
    file = tmp_path / "shards" / "train-000.tar"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"cat", b"cow"))
    assert manifest(path).fingerprint != before


def test_file_names_may_start_from_the_working_folder(tmp_path, tree, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tables").mkdir()
    lines = [f"tree/{name},{name.split('/')[1]}" for name in read_tree(tree)]
    (tmp_path / "tables" / "my.csv").write_text("\n".join(["image,label", *lines]))
    table = manifest("tables/my.csv")
    assert table.columns["image"].values[0] == tmp_path / "tree/test/cat/0.png"
    assert table.notes[0] == (
        "file names start from the working folder: 'tree/test/cat/0.png' is not in tables; dataset.root=FOLDER sets it"
    )


@pytest.mark.parametrize("name", ["tree", "tree.tar", "shards"])
def test_a_batch_is_read_from_where_it_lies(tmp_path, tree, name):
    """Pictures in a tar archive are not unpacked: their paths hold where they start."""
    LAYOUTS["tar"](tmp_path, tree)
    write_shards(tmp_path, tree)
    value = manifest(str(tmp_path / name)).columns["image"].values[0]
    assert ("/@" in str(value)) == (name != "tree")


def write_clips(folder):
    """Write twelve clips of four frames by class, whose grey levels are their places."""
    for number in range(12):
        clip = folder / ("cat" if number % 2 else "dog") / f"clip{number}"
        clip.mkdir(parents=True)
        for place in range(4):
            Image.new("L", (4, 4), place).save(clip / f"frame_{place + 9}.png")


@pytest.mark.parametrize("is_packed", [False, True])
def test_folders_of_numbered_frames_are_videos(tmp_path, is_packed):
    write_clips(tmp_path / "clips")
    path = shutil.make_archive(str(tmp_path / "packed"), "tar", tmp_path, "clips") if is_packed else tmp_path / "clips"
    table = manifest(str(path))
    assert table.columns["video"].kind == "video"
    assert table.targets["label"].names == ["cat", "dog"]
    assert len(table.ids) == 12
    frames = Frames(4, 4)
    frames.fit(table.columns["video"], table.rows("train"))
    assert frames.decode(table.columns["video"].values[0])[""][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert table.notes[1].endswith(
        "each of 12 folders of numbered images is read as one video; to read the images one by one, list them in a CSV"
    )


def test_video_files_by_class_are_videos(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "clips" / label).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "clips" / label / f"{number}.mp4").write_bytes(b"content")
    pytest.importorskip("av")
    table = manifest(str(tmp_path / "clips"))
    assert table.columns["video"].kind == "video"
    assert table.notes[0] == "clips: read as folders by class, 12 rows of video"


def test_shards_of_a_table_name_columns_that_are_not_read(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("text,,label\nhi,1,a\nho,2,b\n")
    notes = manifest(str(tmp_path)).notes
    assert "test.csv: column 2 has no name, and is not read; name what holds data" in notes
