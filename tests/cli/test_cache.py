"""The cache that runs share, as `mmrun cache` shows it."""

import json

import pytest

from mmrun.cli import main
from mmrun.data.file_digests import FileDigests


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder that remembers the digest of one file, and holds nothing else."""
    monkeypatch.setattr("mmrun.data.file_digests.SETTLED", 0)
    (tmp_path / "photo.png").write_bytes(b"pixels")
    list(FileDigests(tmp_path / "cache" / "files.sqlite").digest([str(tmp_path / "photo.png")]))
    return tmp_path / "cache"


def test_digests_of_files_are_an_entry(cache, capsys):
    assert main(["cache", "ls", "--cache", str(cache), "--format", "json"]) == 0
    [entry] = json.loads(capsys.readouterr().out)
    assert (entry["kind"], entry["name"], entry["about"]) == ("digests", "files.sqlite", "of one file")
    assert entry["size"] == (cache / "files.sqlite").stat().st_size


def test_digests_of_files_can_be_cleared(cache, capsys):
    assert main(["cache", "clear", "--cache", str(cache)]) == 0
    assert capsys.readouterr().out == f"{cache}: removed 1 entry, 8 KiB\n"
    assert not (cache / "files.sqlite").exists()


def test_damaged_digests_of_files_are_named(cache, capsys):
    assert main(["cache", "verify", "--cache", str(cache)]) == 0
    (cache / "files.sqlite").write_bytes(b"SQLite format 3\0, or rather not")
    assert main(["cache", "ls", "--cache", str(cache)]) == 0
    assert "damaged" in capsys.readouterr().out
    assert main(["cache", "verify", "--cache", str(cache)]) == 1
    assert "files.sqlite: damaged (file is not a database); the next run" in " ".join(capsys.readouterr().out.split())


def test_unpacked_archives_are_listed_and_cleared(tmp_path):
    from mmrun.cli import cache
    from mmrun.data.sources.manifest import manifest
    from tests.data.folders.trees import LAYOUTS, write_tree

    write_tree(tmp_path / "tree")
    cache_folder = tmp_path / "cache"
    manifest(LAYOUTS["zip"](tmp_path, tmp_path / "tree"), digests=FileDigests(cache_folder / "files.sqlite"))
    [archive, *_] = [entry for entry in cache.list_entries(cache_folder) if entry.kind == "archive"]
    assert (archive.about, archive.size > 1000) == ("tree", True)
    cache.clear(cache_folder, [archive])
    assert list((cache_folder / "archives").iterdir()) == []
