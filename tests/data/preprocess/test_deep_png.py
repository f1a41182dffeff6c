"""PNG files of 16 bits per channel, without torchvision."""

import struct
import sys
import zlib

import numpy as np
import pytest

from mmrun.data.preprocess.deep_png import SIGNATURE, read_deep_png
from mmrun.data.preprocess.image_files import read_deep
from mmrun.errors import DataError
from tests.png import chunk, write_png


@pytest.fixture
def pixels():
    generator = np.random.default_rng(0)
    return lambda channels, height=11, width=13: generator.integers(
        0, 65536, (height, width, channels), dtype=np.uint16
    )


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("interlaced", [False, True])
def test_pixels_are_those_that_torchvision_reads(channels, interlaced, pixels, tmp_path):
    from torchvision.io import ImageReadMode, decode_image

    written = pixels(channels)
    write_png(tmp_path / "a.png", written, interlaced)
    read = read_deep_png(tmp_path / "a.png")
    np.testing.assert_array_equal(read, written.transpose(2, 0, 1))
    np.testing.assert_array_equal(read, decode_image(str(tmp_path / "a.png"), ImageReadMode.UNCHANGED).numpy())


def test_an_interlaced_image_smaller_than_its_passes(pixels, tmp_path):
    written = pixels(3, height=1, width=2)
    write_png(tmp_path / "a.png", written, interlaced=True)
    np.testing.assert_array_equal(read_deep_png(tmp_path / "a.png"), written.transpose(2, 0, 1))


@pytest.mark.parametrize("damage", [lambda content: content[:60], lambda content: content[:50] + b"x" + content[51:]])
def test_damaged_files_are_one_line(damage, pixels, tmp_path):
    write_png(tmp_path / "a.png", pixels(3))
    (tmp_path / "a.png").write_bytes(damage((tmp_path / "a.png").read_bytes()))
    with pytest.raises(DataError, match=r"a\.png is damaged or not an image"):
        read_deep_png(tmp_path / "a.png")


def test_no_more_is_decompressed_than_the_image_holds(tmp_path):
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    bomb = chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
    (tmp_path / "a.png").write_bytes(SIGNATURE + chunk(b"IHDR", header) + bomb + chunk(b"IEND", b""))
    np.testing.assert_array_equal(read_deep_png(tmp_path / "a.png"), np.zeros((3, 2, 2)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_that_lie_are_turned_as_torchvision_turns_them(orientation, pixels, tmp_path, monkeypatch):
    write_png(tmp_path / "a.png", pixels(3))
    exif = b"MM\x00*\x00\x00\x00\x08\x00\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + bytes(4)
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[:33] + chunk(b"eXIf", exif) + content[33:])
    expected = read_deep(tmp_path / "a.png", [0, 0, 0])
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    np.testing.assert_array_equal(read_deep(tmp_path / "a.png", [0, 0, 0]), expected)


def test_a_transparent_colour_is_read_as_torchvision_reads_it(pixels, tmp_path, monkeypatch):
    written = pixels(3)
    write_png(tmp_path / "a.png", written)
    transparent = struct.pack(">HHH", *written[0, 0].tolist())
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[:33] + chunk(b"tRNS", transparent) + content[33:])
    expected = read_deep(tmp_path / "a.png", [0, 0, 0])
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    np.testing.assert_array_equal(read_deep(tmp_path / "a.png", [0, 0, 0]), expected)
