"""Digests of files: they are of the content, and a file that did not change is read once."""

import os
import sqlite3
import time
from hashlib import blake2b

import pytest

from mmrun.data import file_digests
from mmrun.data.file_digests import FileDigests, NoDigests


@pytest.fixture
def reads(monkeypatch):
    """Which files are read."""
    names = []
    read = file_digests._digest_file

    def record(path):
        names.append(os.path.basename(path))
        return read(path)

    monkeypatch.setattr(file_digests, "_digest_file", record)
    return names


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two files, which count as old enough to be remembered."""
    monkeypatch.setattr(file_digests, "SETTLED", -1 << 62)
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    return tmp_path


def digest(folder, *names):
    return list(FileDigests(folder / "cache" / "files.sqlite").digest(str(folder / name) for name in names))


def test_a_digest_is_that_of_the_content_in_the_order_of_the_paths(folder):
    expected = [blake2b(text, digest_size=20).hexdigest() for text in (b"b", b"a", b"b")]
    assert digest(folder, "b", "a", "b") == expected
    assert list(FileDigests().digest([str(folder / "b")])) == expected[:1]


def test_a_second_start_reads_nothing(folder, reads):
    first = digest(folder, "a", "b")
    assert digest(folder, "a", "b") == first
    assert reads == ["a", "b"]


def test_a_file_rewritten_with_equal_size_and_time_is_read_again(folder, reads):
    (before,) = digest(folder, "a")
    stat = os.stat(folder / "a")
    (folder / "a").write_text("z")
    os.utime(folder / "a", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest(folder, "a") != [before]
    assert reads == ["a", "a"]


def test_a_file_that_was_just_written_is_not_remembered(folder, reads, monkeypatch):
    """It might be written again within the same tick of the clock."""
    monkeypatch.setattr(file_digests, "SETTLED", 2_000_000_000)
    digest(folder, "a")
    digest(folder, "a")
    assert reads == ["a", "a"]
    assert not file_digests._is_settled(f"{time.time_ns()} 0 1 1", time.time_ns())


def test_a_damaged_or_unwritable_memory_costs_time_and_nothing_else(folder, reads):
    first = digest(folder, "a")
    memory = folder / "cache" / "files.sqlite"
    memory.write_bytes(b"no database at all" * 100)
    assert digest(folder, "a") == digest(folder, "a") == digest(folder, "a") == first
    assert reads == ["a"] * 3  # once because of the damage, once because it was removed
    with sqlite3.connect(memory) as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchall() == [(1,)]
    blocked = FileDigests(folder / "a" / "files.sqlite")  # a file is where the folder should be
    assert list(blocked.digest([str(folder / "a")])) == first


def test_a_file_that_cannot_be_read_is_left_to_its_row(folder):
    assert digest(folder, "gone") == ["cannot be read: No such file or directory"]
    assert list(NoDigests().digest(["gone", "a"])) == ["", ""]
