"""A byte that changes after a file was written is noticed."""

import pytest

from mmrun import digests
from mmrun.errors import DamagedError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "b.bin").write_bytes(b"")
    digests.write_digests(tmp_path)
    return tmp_path


def test_an_unchanged_folder_is_verified(folder):
    digests.verify_folder(folder)
    digests.verify_folder(folder, ["a.bin"], once=True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"abd", "damaged, its bytes changed after they were written"), (b"ab", "damaged, 2 bytes where 3 were written")],
)
def test_a_changed_file_is_named(folder, content, problem):
    (folder / "a.bin").write_bytes(content)
    with pytest.raises(DamagedError) as caught:
        digests.verify_folder(folder)
    assert str(caught.value) == f"{folder}/a.bin: {problem}"
    digests.verify_folder(folder, ["b.bin"])


def test_a_missing_file_is_named(folder):
    (folder / "b.bin").unlink()
    with pytest.raises(DamagedError) as caught:
        digests.verify_folder(folder)
    assert str(caught.value) == f"{folder}/b.bin: cannot be read (No such file or directory)"


def test_digests_that_are_missing_or_damaged(folder):
    (folder / "digests.json").write_text("[]")
    with pytest.raises(DamagedError, match=r"digests.json: damaged \(TypeError: "):
        digests.verify_folder(folder, ["a.bin"])
    (folder / "digests.json").unlink()
    with pytest.raises(DamagedError, match=r"digests.json: no such file$"):
        digests.verify_folder(folder)


def test_a_digest_is_of_all_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "BLOCK_SIZE", 4)
    (tmp_path / "long").write_bytes(b"0123456789")
    first = digests.compute_digest(tmp_path / "long")
    (tmp_path / "long").write_bytes(b"0123456780")
    assert first["size"] == 10
    assert digests.compute_digest(tmp_path / "long") != first
