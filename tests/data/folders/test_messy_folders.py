"""Folders and archives as people and attackers make them: each is read, or one line says what is wrong."""

import io
import json
import os
import tarfile
import zipfile

import pyarrow
import pytest
from PIL import Image
from pyarrow import ipc, parquet

from mmrun.data import limits
from mmrun.data.sources.manifest import describe, manifest
from mmrun.errors import DataError
from tests.data.files import error_of
from tests.data.folders.trees import METADATA, make_arrow, write_tar, write_tree, write_zip

PICTURE = io.BytesIO()
Image.new("RGB", (8, 8), (255, 0, 0)).save(PICTURE, "png")
PICTURE = PICTURE.getvalue()
NOTE = b"a note of some words"


def write_files(root, contents):
    """Write files by name; a name that ends with a slash is an empty folder."""
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (root / name).mkdir(exist_ok=True)
        else:
            (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(root)


def pictures(*names, count=12):
    """Return pictures by name: {} in a name is a number."""
    return {name.format(number): PICTURE for name in names for number in range(count)}


def labelled(count=12, split=None):
    """Return the lines of a CSV with pictures and labels."""
    extra = "" if split is None else f",{split}"
    return "".join(f"{number}.png,{'ab'[number % 2]}{extra}\n" for number in range(count))


# ------------------------------------------------------------------------------------------------- read as one expects

READ = {
    "by class": (pictures("cat/{}.png", "dog/{}.png"), {"image": "image"}, 24),
    "by class and split": (
        pictures("cat/train/{}.png", "cat/test/{}.png", "dog/train/{}.png", "dog/test/{}.png", "dog/dev/{}.png"),
        {"image": "image"},
        60,
    ),
    "other names of splits": (
        pictures("Training/a/{}.png", "Training/b/{}.png", "Holdout/a/{}.png", "Holdout/b/{}.png"),
        {"image": "image"},
        48,
    ),
    "capital suffixes": (pictures("a/{}.PNG", "b/{}.Png"), {"image": "image"}, 24),
    "deeper folders in a class": (pictures("a/x/{}.png", "a/y/{}.png", "b/{}.png"), {"image": "image"}, 36),
    "a folder in a folder": (pictures("v1/final/a/{}.png", "v1/final/b/{}.png"), {"image": "image"}, 24),
    "what systems leave": (
        pictures("a/{}.png", "b/{}.png") | {".DS_Store": b"1", "__MACOSX/a/._1.png": b"1", "a/Thumbs.db": b"1"},
        {"image": "image"},
        24,
    ),
    "a readme": (pictures("a/{}.png", "b/{}.png") | {"README.txt": "hello", "LICENSE": "free"}, {"image": "image"}, 24),
    "other scripts": (pictures("кошка/{} é.png", "собака/{} ß.png"), {"image": "image"}, 24),
    "a table that is not of the pictures": (
        pictures("a/{}.png", "b/{}.png") | {"classes.csv": "name,number\na,0\nb,1\n"},
        {"image": "image"},
        24,
    ),
    "texts by class": (
        {f"{label}/{number}.txt": f"words of {number}" for label in "ab" for number in range(12)},
        {"text": "text"},
        24,
    ),
    "series by class": (
        {f"{label}/{number}.csv": "1,2\n3,4\n" for label in ("walk", "run") for number in range(12)},
        {"series": "series"},
        24,
    ),
    "pictures with texts of the same names": (
        pictures("a/{}.png", "b/{}.png")
        | {f"{label}/{number}.txt": f"words of {number}" for label in "ab" for number in range(12)},
        {"image": "image", "text": "text"},
        24,
    ),
    "a table beside its pictures": (
        pictures("{}.png") | {"labels.csv": f"file,label\n{labelled()}"},
        {"file": "image"},
        12,
    ),
    "tables by split": (
        {"train.csv": "x,label\n" + "w,a\nt,b\n" * 20, "test.csv": "x,label\nw,a\nt,b\n"},
        {"tabular": "tabular"},
        42,
    ),
    "shards of a table": (
        {f"part-{number}.csv": "x,label\n" + "w,a\nt,b\n" * 20 for number in range(3)},
        {"tabular": "tabular"},
        120,
    ),
    "metadata.csv": (
        pictures("train/{}.png", "test/{}.png")
        | {
            "train/metadata.csv": f"file_name,label\n{labelled()}",
            "test/metadata.csv": f"file_name,label\n{labelled()}",
        },
        {"image": "image"},
        24,
    ),
    "metadata.jsonl of two files a row": (
        pictures("{}.png")
        | {
            "metadata.jsonl": "".join(
                json.dumps({"left_file_name": f"{n}.png", "right_file_name": f"{n}.png", "label": n % 2}) + "\n"
                for n in range(12)
            )
        },
        {"left": "image", "right": "image"},
        12,
    ),
    "files of WebDataset, unpacked": (
        pictures("{:04}.png") | {f"{number:04}.json": json.dumps({"label": "ab"[number % 2]}) for number in range(12)},
        {"image": "image"},
        12,
    ),
}


@pytest.mark.parametrize("name", READ)
def test_folders_that_are_read(tmp_path, name):
    contents, kinds, num_rows = READ[name]
    path = write_files(tmp_path / "data", contents)
    table = manifest(path)
    assert len(table.ids) == num_rows
    assert kinds is None or {column: values.kind for column, values in table.columns.items()} == kinds
    assert kinds is None or describe(path=path) == kinds
    assert len(table.targets["label"].names) == 2


def test_pictures_without_classes_have_no_label(tmp_path):
    path = write_files(tmp_path / "new", pictures("{}.png"))
    assert error_of(Exception, path) == "dataset.target: new has no column 'label' (it has id, image)"


def test_columns_of_samples(tmp_path):
    contents = {}
    for number in range(12):
        contents[f"{number}.left.png"] = PICTURE
        contents[f"{number}.right.png"] = PICTURE
        contents[f"{number}.json"] = json.dumps(
            {"age": number + 0.5, "left": "no picture", "label": number % 2}
        ).encode()
        contents[f"{number}.pkl"] = b"cos\nsystem\n(S'touch hacked'\ntR."
    table = manifest(write_tar(tmp_path / "my.tar", contents))
    assert {name: column.kind for name, column in table.columns.items()} == {
        "left": "image",
        "right": "image",
        "tabular": "tabular",
    }
    assert table.columns["tabular"].values[1] == {"age": 1.5, "json.left": "no picture"}
    assert "my.tar: not read: 12 files (0.pkl, 1.pkl, 2.pkl, ...)" in table.notes


def test_class_names_in_place_of_numbers(tmp_path):
    write_tree(tmp_path / "tree")
    table = make_arrow(tmp_path / "tree" / "train")
    lists = pyarrow.array([[0, 1], [], [1]] + [[0]] * 13, pyarrow.list_(pyarrow.int64()))
    features = json.loads(METADATA["huggingface"])
    features["info"]["features"]["tags"] = {
        "_type": "Sequence",
        "feature": {"_type": "ClassLabel", "names": ["x", "y"]},
    }
    table = table.append_column("tags", lists).replace_schema_metadata({"huggingface": json.dumps(features)})
    parquet.write_table(table, tmp_path / "my.parquet")
    read = manifest(str(tmp_path / "my.parquet"), {"image": "image"}, target=["label", "tags"])
    assert (read.targets["label"].names, read.targets["tags"].names) == (["cat", "dog"], ["x", "y"])
    assert read.targets["tags"].values[:3].tolist() == [[1, 1], [0, 0], [0, 1]]


# ----------------------------------------------------------------------------------------------- one line says what is

WRONG = {
    "nothing": ({"a/": ""}, "is no data set that is known. It holds nothing; looked for: "),
    "files of no known kind": ({"a/1.xyz": "1", "b/2.xyz": "2", "x.doc": "3"}, "It holds 2 .xyz, 1 .doc; looked for: "),
    "two pictures in one row": (
        pictures("a/{}.png", "b/{}.png") | {"a/1.jpg": PICTURE, "a/1.wav": b"1"},
        "data: a/1.jpg and a/1.png would be one row, but both are image; rename one of them",
    ),
    "one class": (
        pictures("train/a/{}.png", "test/a/{}.png"),
        "data: column 'label': all rows are a; a target needs at",
    ),
    "tables of other columns": (
        {"train.csv": "x,label\nw,a\nt,b\n", "test.csv": "x\nw\n"},
        "test.csv has no column 'label', which train.csv has; name one of the files: dataset.path=",
    ),
    "tables of several formats": (
        {"a.csv": "x,label\nw,a\n", "b.jsonl": '{"x": 1}\n'},
        "data: has tables of several formats (a.csv, b.jsonl); name one of them, dataset.path=FILE",
    ),
    "metadata without file names": (
        pictures("{}.png") | {"metadata.csv": "name,label\n0.png,a\n1.png,b\n"},
        "data: metadata.csv has no column 'file_name'; add the name of each row's file",
    ),
    "metadata that names a missing file": (
        pictures("{}.png") | {"metadata.csv": f"file_name,label\n{labelled()}12.png,a\n"},
        "metadata.csv:14: column 'image': '12.png' does not exist; ",
    ),
    "metadata that leads out": (
        pictures("{}.png") | {"metadata.csv": f"file_name,label\n{labelled()}../../x.png,a\n"},
        "metadata.csv:14: column 'image': '../../x.png' lies outside ",
    ),
    "an empty picture": (
        pictures("a/{}.png", "b/{}.png") | {"b/12.png": b""},
        "b/12.png: column 'image': 'b/12.png' is empty or not a file; replace it",
    ),
    "a saved data set without its files": (
        {"state.json": json.dumps({"_data_files": [{"filename": "x.arrow"}]})},
        "data: x.arrow is missing; save the data set again",
    ),
    "a saved data set that leads out": (
        {"state.json": json.dumps({"_data_files": [{"filename": "../x.arrow"}]})},
        "data: ../x.arrow is missing; save the data set again",
    ),
    "a saved data set that is no JSON": ({"dataset_dict.json": "{"}, "data: dataset_dict.json is not JSON ("),
    "a damaged Arrow file": (
        {"state.json": json.dumps({"_data_files": [{"filename": "x.arrow"}]}), "x.arrow": b"1234567890"},
        "x.arrow: is damaged or not an Arrow file (",
    ),
    "a shard that is no tar": ({"a.tar": b"1" * 2000}, "a.tar: is damaged or not a tar archive ("),
}


@pytest.mark.parametrize("name", WRONG)
def test_folders_that_are_wrong(tmp_path, name):
    contents, message = WRONG[name]
    text = error_of(DataError, write_files(tmp_path / "data", contents))
    assert message in text
    assert "\n" not in text


def test_bad_rows_of_a_folder_can_be_skipped(tmp_path):
    contents = pictures("a/{}.png", "b/{}.png") | {"b/12.png": b""}
    table = manifest(write_files(tmp_path / "data", contents), on_error="skip")
    assert table.skipped == ["b/12.png: column 'image': 'b/12.png' is empty or not a file; replace it"]
    assert len(table.ids) == 24


def test_two_pictures_of_a_sample(tmp_path):
    contents = {}
    for number in range(12):
        contents |= {f"{number:02}.png": PICTURE, f"{number:02}.cls": b"ab"[number % 2 :][:1]}
    path = write_tar(tmp_path / "my.TAR", contents | {"03.jpg": PICTURE})
    message = "03: 03.png and 03.jpg would be one cell, 'image'; rename one, as in 000.left.png"
    assert error_of(DataError, path) == message
    assert manifest(path, on_error="skip").skipped == [message]


def test_bad_samples_can_be_skipped(tmp_path):
    contents = {}
    for number in range(12):
        contents |= {f"{number:02}.png": PICTURE, f"{number:02}.cls": b"ab"[number % 2 :][:1]}
    contents |= {"03.json": b"{", "04.cls": b"\xff\xfe"}
    path = write_tar(tmp_path / "my.tar", contents)
    assert error_of(DataError, path).startswith("03: 03.json is not JSON (")
    table = manifest(path, on_error="skip")
    assert [line.partition(" (")[0] for line in table.skipped] == [
        "03: 03.json is not JSON",
        "04: 04.cls is not UTF-8 text",
    ]


def test_a_class_without_a_name(tmp_path):
    write_tree(tmp_path / "tree")
    table = make_arrow(tmp_path / "tree" / "train")
    table = table.set_column(1, "label", [[7] * len(table)]).replace_schema_metadata(METADATA)
    parquet.write_table(table, tmp_path / "my.parquet")
    assert error_of(DataError, str(tmp_path / "my.parquet")) == (
        "column 'label': class 7 has no name, of 2; write the data set again"
    )


def test_an_arrow_file_that_claims_two_billion_rows(tmp_path):
    batch = pyarrow.record_batch({"label": pyarrow.Array.from_buffers(pyarrow.null(), (1 << 31) - 1, [None])})
    with ipc.new_stream(str(tmp_path / "my.arrow"), batch.schema) as stream:
        stream.write_batch(batch)
    assert error_of(DataError, str(tmp_path / "my.arrow")).startswith("my.arrow claims 2,147,483,647 rows in ")


# ------------------------------------------------------------------------------------------------------------ archives


def add_member(path, kind, mode):
    with tarfile.open(path, mode) as archive:
        info = tarfile.TarInfo("a/x.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    return str(path)


@pytest.mark.parametrize(
    "name", ["../x.png", "/tmp/x.png", "a/../../x.png", "C:/x.png", "a\\..\\..\\x.png", "a/\x1b[2Jx.png"]
)
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_names_that_lead_out_of_an_archive(tmp_path, name, kind):
    contents = pictures("a/{}.png", "b/{}.png") | {name: PICTURE}
    path = tmp_path / f"my.{kind}"
    archive = (
        write_zip(path, contents) if kind == "zip" else write_tar(path, contents, "w:gz" if kind != "tar" else "w")
    )
    message = error_of(DataError, archive)
    assert message.startswith(f"my.{kind}: a file called ")
    assert message.endswith(" is refused; pack the folder again")
    assert message.isprintable()
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("name", ["my.tar", "my.tar.gz"])
def test_links_and_devices_in_a_tar_archive(tmp_path, kind, name):
    path = add_member(tmp_path / name, kind, "w:gz" if name.endswith("gz") else "w")
    assert error_of(DataError, path).startswith(f"{name}: 'a/x.png' is no plain file, but a link, say; replace it")


def test_links_in_a_zip_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "my.zip", "w") as archive:
        info = zipfile.ZipInfo("a/x.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert error_of(DataError, str(tmp_path / "my.zip")).startswith(
        "my.zip: 'a/x.png' is no plain file, but a link, say"
    )


def test_a_link_out_of_a_folder(tmp_path):
    path = write_files(tmp_path / "data", pictures("a/{}.png", "b/{}.png"))
    (tmp_path / "secret.png").write_bytes(PICTURE)
    os.symlink(tmp_path / "secret.png", tmp_path / "data" / "a" / "x.png")
    os.symlink(tmp_path, tmp_path / "data" / "loop")
    assert error_of(DataError, path).startswith("a/x.png: column 'image': 'a/x.png' is a link out of ")
    table = manifest(path, on_error="skip")
    assert "data: not read: 1 link to a folder (loop)" in table.notes


def test_an_archive_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MIN_UNPACKED_CHECKED", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", bytes(1 << 24))
    assert error_of(DataError, str(tmp_path / "bomb.zip")) == (
        "bomb.zip: unpacks to more than is read, 16,777,216 bytes; unpack it yourself"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("my.zip", b"no zip", "my.zip: is damaged or no archive (BadZipFile); download it again"),
        ("my.tar.gz", b"no gzip", "my.tar.gz: is damaged or no archive (ReadError); download it again"),
        ("my.tgz", b"\x1f\x8b\x08\x00\x00", "my.tgz: is damaged or no archive ("),
        ("my.tar", b"", "my.tar: is damaged or not a tar archive (ReadError)"),
        ("my.7z", b"7z", "my.7z: '.7z' is not a supported table format; use one of "),
    ],
)
def test_damaged_archives(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert message in error_of(DataError, str(tmp_path / name))


@pytest.mark.parametrize(("suffix", "error"), [("gz", "BadGzipFile"), ("bz2", "OSError"), ("xz", "LZMAError")])
def test_an_archive_with_a_changed_byte(tmp_path, suffix, error):
    path = tmp_path / f"my.tar.{suffix}"
    write_tar(path, {"a/1.png": os.urandom(1_000_000), "b/1.png": b"2"}, f"w:{suffix}")
    content = bytearray(path.read_bytes())
    content[950_000] ^= 1
    path.write_bytes(content)
    assert error_of(DataError, str(path)) == f"{path.name}: is damaged or no archive ({error}); download it again"


def test_a_truncated_archive_leaves_nothing_behind(tmp_path):
    from mmrun.data.file_digests import FileDigests

    path = tmp_path / "my.tar.gz"
    content = os.urandom(100_000)
    write_tar(path, {"a/1.png": content, "b/1.png": content}, "w:gz")
    path.write_bytes(path.read_bytes()[:150_000])
    message = error_of(DataError, str(path), digests=FileDigests(tmp_path / "cache" / "files.sqlite"))
    assert message == "my.tar.gz: is damaged or no archive (EOFError); download it again"
    assert list((tmp_path / "cache" / "archives").iterdir()) == []


def test_a_truncated_shard(tmp_path):
    path = tmp_path / "my.tar"
    write_tar(path, {"1.png": bytes(100_000), "1.cls": b"a"})
    path.write_bytes(path.read_bytes()[:50_000])
    assert error_of(DataError, str(path)) == "my.tar: is truncated in '1.png'; copy it again"


def test_a_password(tmp_path):
    path = tmp_path / "my.zip"
    write_zip(path, {"a/1.png": PICTURE})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag of an encrypted file, in its header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert error_of(DataError, str(path)).startswith("my.zip: cannot be unpacked (")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("s-{0..2}.tar", "/s-2.tar does not exist; correct the range"),
        ("s-{2..0}.tar", " does not exist; correct the range"),
        ("s-{0..999999999}.tar", " names more than 100,000 files"),
    ],
)
def test_ranges_of_shards(tmp_path, pattern, message):
    for number in range(2):
        write_tar(tmp_path / f"s-{number}.tar", {"1.png": PICTURE, "1.cls": b"a"})
    assert error_of(DataError, f"{tmp_path}/{pattern}").endswith(message)


def test_a_data_set_of_the_hub_that_cannot_be_reached(tmp_path, monkeypatch):
    from mmrun.data.folders import hub

    monkeypatch.setattr(hub, "is_hub_reachable", lambda: False)
    assert error_of(DataError, "hf://owner/name") == (
        "the files of hf://owner/name are not cached and the hub cannot be reached; "
        "download it yourself, and set dataset.path to its folder"
    )
    assert error_of(DataError, "hf://name") == (
        "dataset.path: hf://name is not the address of a data set; write hf://owner/name"
    )
    assert error_of(DataError, "hf://owner/../x").endswith("write hf://owner/name")


def test_a_tar_archive_that_is_a_link_out_of_a_folder(tmp_path):
    write_tar(tmp_path / "secret.tar", {"1.png": PICTURE, "1.cls": b"a", "2.png": PICTURE, "2.cls": b"b"})
    (tmp_path / "data").mkdir()
    os.symlink(tmp_path / "secret.tar", tmp_path / "data" / "my.tar")
    assert " is a link out of " in error_of(DataError, str(tmp_path / "data"))
