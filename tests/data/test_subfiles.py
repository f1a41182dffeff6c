"""Files inside a tar archive are read where they are."""

import numpy as np
import pytest

from mmrun.data.limits import open_array
from mmrun.data.preprocess.audio import measure_duration, read_audio
from mmrun.data.preprocess.deep_png import read_deep_png
from mmrun.data.preprocess.image_files import open_image, read_deep
from mmrun.data.preprocess.text import read_text
from mmrun.data.subfiles import Subfile, format_subfile, name_file, open_file, parse_subfile, stat_file
from mmrun.errors import DataError
from tests.data.folders.trees import write_tar
from tests.png import write_png


@pytest.fixture
def inside(media):
    """Return the path of a file inside an archive of all files."""
    contents = {file.name: file.read_bytes() for file in sorted(media.iterdir())}
    write_tar(media / "all.tar", contents)
    from mmrun.data.folders.tar_index import list_shards

    files = list_shards([media / "all.tar"], media, None).files
    return lambda name: media / files[name]


def test_a_path_holds_where_a_file_lies():
    path = format_subfile("a/b.tar", 512, 7, "c/d.png")
    assert path == "a/b.tar/@512+7/c/d.png"
    assert parse_subfile(path) == Subfile("a/b.tar", 512, 7)
    assert parse_subfile("a/B.Tar/@512+7/c.png") == Subfile("a/B.Tar", 512, 7)
    assert parse_subfile("a/b.tar/c.png") is None
    assert parse_subfile("a/@5+5/c.png") is None


def test_each_kind_of_file_is_read_as_if_it_were_alone(media, inside):
    assert inside("note.txt").name == "note.txt"
    assert read_text(inside("note.txt")) == "grüß dich"
    assert open_image(inside("colour.png")).size == (48, 32)
    assert measure_duration(inside("tone.flac")) == 1.0
    assert np.array_equal(read_audio(inside("tone.wav"))[0], read_audio(media / "tone.wav")[0])
    assert np.array_equal(open_array(inside("ramp.npy")), np.load(media / "ramp.npy"))
    assert name_file(inside("ramp.npy")) == media / "all.tar" / "ramp.npy"


def test_sizes_are_those_of_the_file_and_times_those_of_the_archive(media, inside):
    stat = stat_file(inside("tone.wav"))
    assert stat.size == (media / "tone.wav").stat().st_size
    assert stat.mtime_ns == (media / "all.tar").stat().st_mtime_ns


def test_a_place_beyond_the_archive_is_an_error(media, inside):
    path = media / "all.tar" / "@999999999+10" / "x.png"
    with pytest.raises(FileNotFoundError, match="truncated"):
        stat_file(path)
    with pytest.raises(OSError, match="truncated"):
        open_file(path)


def test_an_array_that_claims_more_than_it_holds(media):
    content = (media / "ramp.npy").read_bytes().replace(b"(2, 10)", b"(9, 10)")
    from mmrun.data.folders.tar_index import list_shards

    write_tar(media / "arrays.tar", {"x.npy": content, "y.npy": content})
    path = media / list_shards([media / "arrays.tar"], media, None).files["x.npy"]
    with pytest.raises(DataError, match=r"^x\.npy is damaged or not a numeric array \(ValueError\)$"):
        open_array(path)


def test_a_picture_of_16_bits(tmp_path):
    from mmrun.data.folders.tar_index import list_shards

    pixels = np.arange(4 * 5 * 3, dtype=np.uint16).reshape(4, 5, 3) * 1000
    write_png(tmp_path / "deep.png", pixels)
    write_tar(tmp_path / "all.tar", {"deep.png": (tmp_path / "deep.png").read_bytes()})
    inside = tmp_path / list_shards([tmp_path / "all.tar"], tmp_path, None).files["deep.png"]
    assert np.array_equal(read_deep(inside, [0, 0, 0]), pixels.transpose(2, 0, 1))
    assert np.array_equal(read_deep_png(inside), pixels.transpose(2, 0, 1))
