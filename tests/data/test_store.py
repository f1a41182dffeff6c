import json
import multiprocessing
import os
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mmrun import digests, processes
from mmrun.data import array_files, decode, store
from mmrun.data.array_files import make_cache_folder
from mmrun.data.preprocess.image import Pixels
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.preprocess.text import Tokens
from mmrun.data.store import LazyColumn, MappedColumn, open_column
from mmrun.data.table import Column
from mmrun.errors import DataError, StorageError
from tests.damage import DAMAGES, damage

PLENTY = 1 << 30  # bytes


@pytest.fixture
def pictures(tmp_path):
    """Twenty pictures, the fourth row missing."""
    rng = np.random.default_rng(0)
    paths = []
    for row in range(20):
        path = tmp_path / f"{row}.png"
        Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(path)
        paths.append(path)
    paths[3] = None
    return Column("image", paths, [f"my.csv:{row + 2}: column 'photo'" for row in range(20)])


def parts_of(preprocessed):
    return preprocessed.gather(torch.arange(20))[""]


def test_files_are_decoded_once_into_the_cache(pictures, tmp_path):
    cache = tmp_path / "cache"
    preprocessed = open_column(pictures, Pixels(8, 3), "data/image", cache, PLENTY)
    assert isinstance(preprocessed, MappedColumn)
    assert preprocessed.parts[""].shape == (20, 3, 8, 8)
    assert preprocessed.present.tolist() == [row != 3 for row in range(20)]
    assert (preprocessed.parts[""][3] == 0).all()
    assert (preprocessed.parts[""][5].numpy() == Pixels(8, 3).decode(pictures.values[5])[""]).all()
    (folder,) = cache.iterdir()
    assert sorted(file.name for file in folder.iterdir()) == ["digests.json", "meta.json", "value.npy"]
    written = (folder / "value.npy").stat().st_mtime_ns
    again = open_column(pictures, Pixels(8, 3), "data/image", cache, PLENTY)
    assert (parts_of(again) == parts_of(preprocessed)).all()
    assert (folder / "value.npy").stat().st_mtime_ns == written


def test_another_preprocessor_key_or_file_is_decoded_again(pictures, tmp_path):
    cache = tmp_path / "cache"
    for size, key in ((8, "one"), (4, "one"), (8, "two"), (8, "one")):
        open_column(pictures, Pixels(size, 3), key, cache, PLENTY)
    assert len(list(cache.iterdir())) == 3
    Image.fromarray(np.zeros((9, 7, 3), dtype=np.uint8)).save(pictures.values[0])
    assert (parts_of(open_column(pictures, Pixels(8, 3), "one", cache, PLENTY))[0] == 0).all()


def test_a_small_column_is_decoded_in_memory(tmp_path):
    cells = Cells()
    column = Column("tabular", [{"x": 1.0}, None, {"x": 3.0}])
    cells.fit(column, np.array([0, 1, 2]))
    preprocessed = open_column(column, cells, "data/cells", tmp_path / "cache", PLENTY)
    assert preprocessed.parts["numeric"].tolist() == [[-1.0], [0.0], [1.0]]
    assert preprocessed.present.tolist() == [True, False, True]
    assert not (tmp_path / "cache").exists()


def test_a_large_column_is_mapped_from_the_cache(tmp_path, monkeypatch):
    tokens, texts = Tokens(60, 8), Column("text", ["a cat", "a dog", None])
    tokens.fit(texts, np.arange(3))
    small = open_column(texts, tokens, "one", tmp_path, PLENTY)
    monkeypatch.setattr(store, "IN_MEMORY", 1)
    large = open_column(texts, tokens, "one", tmp_path, PLENTY)
    [folder] = tmp_path.iterdir()
    assert folder.name == large.name == small.name
    assert large.present.tolist() == [True, True, False]
    for name, part in small.parts.items():
        assert (large.parts[name] == part).all()


def test_a_column_beyond_the_limit_gives_the_same_bits(pictures, tmp_path):
    mapped = open_column(pictures, Pixels(8, 3), "one", tmp_path / "cache", PLENTY)
    lazy = open_column(pictures, Pixels(8, 3), "one", tmp_path / "other", 100)
    assert isinstance(lazy, LazyColumn)
    assert list((tmp_path / "other").iterdir()) == []
    rows = torch.tensor([7, 3, 7, 0, 19])
    assert (lazy.gather(rows)[""] == mapped.gather(rows)[""]).all()
    assert (lazy.present == mapped.present).all()
    tokens = Tokens(60, 8)
    texts = Column("text", ["a cat", "a dog", None])
    tokens.fit(texts, np.arange(3))
    small = open_column(texts, tokens, "two", tmp_path / "other", 1)
    large = open_column(texts, tokens, "two", tmp_path / "other", PLENTY)
    for name, part in large.gather(torch.arange(3)).items():
        assert (small.gather(torch.arange(3))[name] == part).all()


@pytest.mark.parametrize("limit", [PLENTY, 100])
def test_a_bad_row_is_named(pictures, tmp_path, limit):
    pictures.values[5].write_bytes(b"no picture")
    cache = tmp_path / "cache"
    message = (
        "my.csv:7: column 'photo': 5.png is damaged or not an image (UnidentifiedImageError); "
        "replace it, or skip such rows with dataset.on_error=skip"
    )
    with pytest.raises(DataError) as error:
        parts_of(open_column(pictures, Pixels(8, 3), "one", cache, limit))
    assert str(error.value) == message
    assert list(cache.iterdir()) == []
    preprocessed = open_column(pictures, Pixels(8, 3), "one", cache, limit, on_error="skip")
    assert preprocessed.bad == [message.partition("; replace")[0]]
    assert preprocessed.bad_rows.tolist() == [5]
    assert preprocessed.present.tolist() == [row not in (3, 5) for row in range(20)]
    assert (parts_of(preprocessed)[5] == 0).all()
    with pytest.raises(DataError, match=r"my.csv:7"):  # a cache made by skipping excuses nothing later
        parts_of(open_column(pictures, Pixels(8, 3), "one", cache, limit))


def test_a_bad_row_in_memory(tmp_path):
    cells = Cells()
    column = Column("tabular", [{"x": "1"}, {"x": "2"}, {"x": "many"}], ["a.csv:2", "a.csv:3", "a.csv:4"])
    cells.fit(column, np.array([0, 1]))
    with pytest.raises(DataError) as error:
        open_column(column, cells, "one", tmp_path, PLENTY)
    assert str(error.value) == (
        "a.csv:4: 'x' is 'many', but it is a number in all training rows; "
        "replace it, or skip such rows with dataset.on_error=skip"
    )
    assert open_column(column, cells, "one", tmp_path, PLENTY, on_error="skip").bad_rows.tolist() == [2]


def test_no_readable_row_at_all(tmp_path):
    column = Column("image", [None, None], ["my.csv:2: column 'photo'", "my.csv:3: column 'photo'"])
    with pytest.raises(DataError) as error:
        open_column(column, Pixels(8, 3), "one", tmp_path, PLENTY)
    assert str(error.value) == (
        "from my.csv:2: column 'photo' on, no row has a readable image; "
        "fix the column, or leave it out with modalities=[...]"
    )


def decode_and_hang(column, cache):
    """Decode a column in chunks of 4 rows, and hang in the 13th."""

    class Hangs(Pixels):
        def decode(self, value):
            if value.stem == "12":
                time.sleep(60)
            return super().decode(value)

    Hangs.__name__ = "Pixels"
    array_files.SAVE_SECONDS = 0
    decode.CHUNK_SIZE = 4
    open_column(column, Hangs(8, 3), "one", cache, PLENTY)


@pytest.fixture
def killed(pictures, tmp_path):
    """The folder that a process was writing when it was killed, after 12 of 20 rows; and the column."""
    shutil.copy(tmp_path / "2.png", tmp_path / "3.png")
    column = Column("image", [tmp_path / f"{row}.png" for row in range(20)])
    process = multiprocessing.get_context("fork").Process(target=decode_and_hang, args=(column, tmp_path / "cache"))
    process.start()
    progress = None
    while progress is None or json.loads(progress.read_text())["rows"] < 12:
        progress = next((tmp_path / "cache").glob("*.partial/progress.json"), None)
        time.sleep(0.01)
    process.kill()
    process.join()
    return progress.parent, column


class Recorder(Pixels):
    """Records the rows that it decodes."""

    def __init__(self):
        super().__init__(8, 3)
        self.rows = set()

    def decode(self, value):
        self.rows.add(int(value.stem))
        return super().decode(value)


Recorder.__name__ = "Pixels"


def assert_is_whole(preprocessed, column):
    expected = [Pixels(8, 3).decode(value)[""] for value in column.values]
    assert (parts_of(preprocessed).numpy() == np.stack(expected)).all()
    digests.verify_folder(next(path for path in column.values[0].with_name("cache").iterdir()))


def test_what_a_killed_process_decoded_is_kept(killed):
    folder, column = killed
    recorder = Recorder()
    preprocessed = open_column(column, recorder, "one", folder.parent, PLENTY)
    assert recorder.rows == {0, *range(12, 20)}  # the first one shows the shapes
    assert_is_whole(preprocessed, column)
    assert [path.name for path in folder.parent.iterdir()] == [folder.stem]  # neither lock nor partial folder
    assert preprocessed.notes[0].startswith("image: 20 rows decoded in 0 s, 12 of them before this process started, ")


@pytest.mark.parametrize("name", ["value.npy", "progress.json"])
@pytest.mark.parametrize("how", DAMAGES)
def test_what_is_damaged_since_is_decoded_again(killed, name, how):
    folder, column = killed
    damage(folder / name, how)
    assert_is_whole(open_column(column, Recorder(), "one", folder.parent, PLENTY), column)


def test_a_row_that_cannot_be_decoded_keeps_the_rows_before(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "CHUNK_SIZE", 4)
    pictures.values[13].write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"my.csv:15"):
        open_column(pictures, Recorder(), "one", tmp_path / "cache", PLENTY)
    recorder = Recorder()
    preprocessed = open_column(pictures, recorder, "one", tmp_path / "cache", PLENTY, on_error="skip")
    assert recorder.rows == {0, *range(12, 20)}
    assert preprocessed.bad_rows.tolist() == [13]


def test_bad_rows_that_a_killed_process_skipped_are_not_skipped_by_all(killed):
    folder, column = killed
    progress = json.loads((folder / "progress.json").read_text())
    progress["meta"]["bad"]["5"] = "my.csv:7: is damaged"
    (folder / "progress.json").write_text(json.dumps(progress))
    with pytest.raises(DataError, match=r"my.csv:7: is damaged; replace it"):
        open_column(column, Recorder(), "one", folder.parent, PLENTY)
    assert open_column(column, Recorder(), "one", folder.parent, PLENTY, "skip").bad_rows.tolist() == [5]


@pytest.mark.parametrize(
    ("writer", "age", "stays"), [("other host", 0, True), ("other host", 2, False), ("alive", 2, True)]
)
def test_half_written_columns_of_others_are_left_for_a_day(tmp_path, writer, age, stays):
    name = "name.0123abcd-1-5.random.partial"
    folder = tmp_path / name if writer == "other host" else processes.make_temporary_folder(tmp_path / "name")
    folder.mkdir(exist_ok=True)
    then = time.time() - age * 86400
    os.utime(folder, (then, then))
    make_cache_folder(tmp_path)
    assert folder.exists() is stays


@pytest.mark.parametrize("name", ["value.npy", "meta.json", "digests.json"])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_column_is_decoded_anew_and_said(pictures, tmp_path, name, how):
    cache = tmp_path / "cache"
    whole = parts_of(open_column(pictures, Pixels(8, 3), "one", cache, PLENTY)).clone()
    (folder,) = cache.iterdir()
    damage(folder / name, how)
    again = open_column(pictures, Pixels(8, 3), "one", cache, PLENTY)
    assert (parts_of(again) == whole).all()
    assert len(again.notes) == 1
    assert again.notes[0].startswith(f"{folder}/")
    assert again.notes[0].endswith("; it is made anew")
    assert [path.name for path in cache.iterdir()] == [folder.name]
    digests.verify_folder(folder)
    assert open_column(pictures, Pixels(8, 3), "one", cache, PLENTY).notes == []


@pytest.fixture
def read_only():
    """Make folders read-only, where the user of these tests is not above permissions."""
    folders = []

    def make_read_only(folder):
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        folders.append(folder)
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write anywhere")

    yield make_read_only
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)


def test_a_read_only_cache_serves_what_it_holds(pictures, tmp_path, read_only):
    cache = tmp_path / "cache"
    whole = parts_of(open_column(pictures, Pixels(8, 3), "one", cache, PLENTY)).clone()
    read_only(cache)
    mapped = open_column(pictures, Pixels(8, 3), "one", cache, PLENTY)
    assert isinstance(mapped, MappedColumn)
    assert mapped.notes == []
    lazy = open_column(pictures, Pixels(8, 3), "two", cache, PLENTY)
    assert isinstance(lazy, LazyColumn)
    assert lazy.notes == [f"image: 3,840 bytes decoded, 0 are free in {cache}: decoded anew for every batch"]
    assert (parts_of(lazy) == whole).all()


def test_a_cache_that_is_removed_while_a_column_is_written_is_one_line(pictures, tmp_path, monkeypatch):
    cache = tmp_path / "cache"

    class Removes(Pixels):
        def decode(self, value):
            shutil.rmtree(cache, ignore_errors=True)
            return super().decode(value)

    with pytest.raises(
        StorageError, match=r"cache: cannot be written \(No such file or directory\); free room, or set"
    ):
        open_column(pictures, Removes(8, 3), "one", cache, PLENTY)


def test_an_open_column_survives_the_removal_of_the_cache(pictures, tmp_path):
    column = open_column(pictures, Pixels(8, 3), "one", tmp_path / "cache", PLENTY)
    shutil.rmtree(tmp_path / "cache")
    assert (parts_of(column)[5].numpy() == Pixels(8, 3).decode(pictures.values[5])[""]).all()


class Messages:
    """Keeps what it is told."""

    def __init__(self):
        self.messages, self.progress = [], []

    def on_message(self, text):
        self.messages.append(text)

    def on_progress(self, text):
        self.progress.append(text)


def test_progress_is_shown_with_a_rate(pictures, tmp_path):
    listener = Messages()
    open_column(pictures, Pixels(8, 3), "one", tmp_path / "cache", PLENTY, listener=listener)
    assert listener.messages == []
    assert [line.rpartition(", ")[0] for line in listener.progress] == ["image: 20 of 20 rows decoded"]
    assert listener.progress[0].endswith(" rows/s")


def decode_slowly(column, cache):
    class Slow(Pixels):
        def decode(self, value):
            time.sleep(0.02)
            return super().decode(value)

    Slow.__name__ = "Pixels"
    open_column(column, Slow(8, 3), "one", cache, PLENTY)


def test_two_processes_decode_a_column_once(pictures, tmp_path):
    context = multiprocessing.get_context("fork")
    cache = tmp_path / "cache"
    first = context.Process(target=decode_slowly, args=(pictures, cache))
    first.start()
    while not list(cache.glob("*.partial")):
        time.sleep(0.001)
    recorder, listener = Recorder(), Messages()
    column = open_column(pictures, recorder, "one", cache, PLENTY, listener=listener)
    first.join()
    assert listener.messages == [f"image: waits for process {first.pid}, which decodes the same column"]
    assert recorder.rows == {0}  # for the shapes
    assert (parts_of(column)[5].numpy() == Pixels(8, 3).decode(pictures.values[5])[""]).all()
    (folder,) = cache.iterdir()
    assert json.loads((folder / "meta.json").read_text()) == {"parts": [""], "bad": {}}


def test_a_column_that_does_not_fit_on_the_disk_is_lazy(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert isinstance(open_column(pictures, Pixels(8, 3), "one", tmp_path / "cache", PLENTY), LazyColumn)


def test_a_disk_that_fills_up(pictures, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as error:
        open_column(pictures, Pixels(8, 3), "one", tmp_path / "cache", PLENTY)
    assert str(error.value) == (
        f"{tmp_path}/cache: cannot be written (No space left on device); free room, or set cache=FOLDER"
    )
    assert list((tmp_path / "cache").iterdir()) == []
