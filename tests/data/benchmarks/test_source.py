"""The folder of a benchmark: what is found in it, and what is refused."""

import gzip
import os

import pytest

from mmrun.data.benchmarks import source as source_module
from mmrun.data.benchmarks.source import Source
from mmrun.errors import DataError


@pytest.fixture
def source(tmp_path):
    (tmp_path / "data" / "a").mkdir(parents=True)
    for name in ("a/2.wav", "a/1.wav", "a/x.txt"):
        (tmp_path / "data" / name).write_text("text")
    return Source(tmp_path / "data", "Tones")


def test_files_and_folders_are_listed_in_order(source):
    assert source.list_files("a", "*.wav") == ["a/1.wav", "a/2.wav"]
    assert source.list_folders("") == ["a"]
    assert source.list_files("b", "*") == []
    assert source.has_file("a/x.txt")
    assert not source.has_file("a")


def test_a_missing_file_is_counted(source):
    assert source.take_file("audio", "a/1.wav") == "a/1.wav"
    assert source.take_file("audio", "a/3.wav") is None
    assert source.missing == {"audio": ["a/3.wav"]}


def test_the_first_place_that_exists_is_taken(source):
    assert source.require("b/x.txt", "a/x.txt") == "a/x.txt"
    with pytest.raises(DataError, match=r"is not a folder of Tones: it lacks b or c; it holds a$"):
        source.require("b", "c")


def test_a_folder_that_is_one_too_high_is_named(tmp_path, source):
    with pytest.raises(DataError) as caught:
        Source(tmp_path, "Tones").require("a")
    assert str(caught.value) == (
        f"{tmp_path}: is not a folder of Tones: it lacks a; data has it, so write --source {tmp_path}/data"
    )


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(DataError, match="is not a folder; name the one into which Tones was unpacked"):
        Source(tmp_path / "no", "Tones")


@pytest.mark.parametrize("name", ["../secret.txt", "a/../../secret.txt", "/etc/passwd", "a\0/b"])
def test_names_that_lead_out_are_refused(source, name):
    with pytest.raises(DataError, match="is no name of a file in the folder; get the files again"):
        source.has_file(name)


def test_links_that_lead_out_need_permission(source, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "rows.csv").write_text("name\n1\n")
    (source.folder / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="'link' is a link out of the folder; put a copy there, or allow it with"):
        source.has_file("link/rows.csv")
    with pytest.raises(DataError, match="is a link out of the folder"):
        list(source.read_table("link/rows.csv", ["name"]))
    allowed = Source(source.folder, "Tones", allow_outside=True)
    assert list(allowed.read_table("link/rows.csv", ["name"])) == [{"name": "1"}]


def test_what_is_no_file_is_not_opened(source):
    os.mkfifo(source.folder / "rows.csv")  # opening it would wait forever
    (source.folder / "rows.json").mkdir()
    with pytest.raises(DataError, match=r"rows\.csv: is not a file; get the files again"):
        list(source.read_table("rows.csv", ["name"]))
    with pytest.raises(DataError, match=r"rows\.json: is not a file; get the files again"):
        source.read_json("rows.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name;age\n1;2\n", "rows.csv: lacks the column name; it has name;age"),
        (b"", "rows.csv: lacks the column name; it has none"),
        (b"name,age\n1\n", "rows.csv:2: has 1 cells, where 2 belong; get the file again"),
        (b"name,age\n\xff,2\n", "rows.csv: cannot be read (it is not UTF-8 text); get the file again"),
    ],
)
def test_damaged_tables(source, content, message):
    (source.folder / "rows.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(source.read_table("rows.csv", ["name"]))
    assert str(caught.value).startswith(message)


def test_a_packed_table_is_read_within_a_limit(source, monkeypatch):
    (source.folder / "rows.csv.gz").write_bytes(gzip.compress(b"name\n" + b"1\n" * 1000))
    assert len(list(source.read_table("rows.csv.gz", ["name"]))) == 1000
    monkeypatch.setattr(source_module, "MAX_TABLE_LETTERS", 500)
    with pytest.raises(DataError, match=r"rows.csv.gz: has more than 0 GiB of text; is it damaged\?"):
        list(source.read_table("rows.csv.gz", ["name"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "rows.json: is not JSON"), ("[" * 100 + "]" * 100, "rows.json: is not JSON (more than 32 brackets")],
)
def test_damaged_json(source, content, message):
    (source.folder / "rows.json").write_text(content)
    with pytest.raises(DataError) as caught:
        source.read_json("rows.json")
    assert str(caught.value).startswith(message)
