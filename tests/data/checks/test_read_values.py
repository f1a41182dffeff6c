"""What is odd in a single image, recording, text or series."""

import numpy as np
import pytest
import soundfile
from PIL import Image

from mmrun.data.checks.read_values import READERS, read_values
from mmrun.data.table import Column

TIME = np.arange(8000) / 8000
TONE = np.sin(2 * np.pi * 441 * TIME)
RAMP = np.tile(np.arange(64, dtype=np.float32), (64, 1))


@pytest.mark.parametrize(
    ("samples", "flags"),
    [
        (0.5 * TONE, ()),
        (TONE, ()),  # at full scale, but not beyond it
        (np.clip(3 * TONE, -1, 1), ("clipped",)),
        (np.clip(3 * TONE, -1, 1) * 0.5, ()),  # nothing says that these were clipped
        (1e-5 * TONE, ("silent",)),
        (np.zeros(8000), ("silent",)),
        (np.where(TIME > 0.5, np.nan, TONE), ("not-finite",)),
        (np.stack([TONE, 0 * TONE], axis=1), ()),
        (np.ones(10) * 0.3, ()),  # shorter than a frame
        ((TONE * 32767).astype(np.int16), ()),
    ],
)
def test_recordings(samples, flags):
    sample = READERS["audio"]((samples, 8000))
    assert sample.flags == flags
    assert sample.features.shape == (24 * 18,)
    assert np.isfinite(sample.features).all()


@pytest.mark.parametrize(
    ("pixels", "flags"),
    [
        (RAMP, ()),
        (RAMP.astype(np.uint16), ()),
        (np.zeros((64, 64), dtype=np.float32), ("blank",)),
        (np.where(RAMP > 60, np.inf, RAMP), ("not-finite",)),
        (np.full((64, 64), np.nan, dtype=np.float32), ("not-finite", "blank")),
        (np.stack([RAMP] * 5), ()),
    ],
)
def test_image_arrays(pixels, flags):
    sample = READERS["image"](pixels)
    assert sample.flags == flags
    assert sample.features.shape == (12 * 12 * 3,)
    assert np.isfinite(sample.features).all()


@pytest.mark.parametrize(
    ("image", "flags"),
    [
        (Image.fromarray(RAMP.astype(np.uint8)), ()),
        (Image.new("RGB", (40, 30), (9, 200, 9)), ("blank",)),
        (Image.new("RGBA", (40, 30), (0, 0, 0, 0)), ("blank",)),  # nothing is left but transparency
        (Image.new("L", (1, 1)), ("blank",)),
    ],
)
def test_image_files(tmp_path, image, flags):
    image.save(tmp_path / "x.png")
    sample = READERS["image"](tmp_path / "x.png")
    assert (sample.flags, sample.facts.width) == (flags, image.width)


def test_an_image_that_is_rotated_to_be_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RAMP[:32].astype(np.uint8)).save(tmp_path / "x.jpg", exif=exif)
    header = READERS["image"](tmp_path / "x.jpg").facts
    assert (header.width, header.height) == (32, 64)


@pytest.mark.parametrize(
    ("text", "flags"), [("red", ()), ("猫", ()), ("😀", ()), ("7", ()), ("...", ("empty",)), (" \n", ("empty",))]
)
def test_texts(text, flags):
    assert READERS["text"](text).flags == flags


@pytest.mark.parametrize(
    ("series", "flags"),
    [
        ([1.0, 2, 3], ()),
        ([[1, 2], [3, 4], [5, 6]], ()),
        ([5, 5, 5], ("blank",)),
        ([1, np.nan, 2], ("not-finite",)),
        ([np.inf, np.inf], ("not-finite", "blank")),
        (np.zeros((20, 3)), ("blank",)),
    ],
)
def test_series(series, flags):
    sample = READERS["series"](np.array(series))
    assert (sample.flags, sample.features.shape) == (flags, (6 * 72,))


@pytest.mark.parametrize(
    ("points", "flags"),
    [
        ([[0, 0, 0], [1, 2, 3]], ()),
        ([[0, 0, 0, 7], [1, np.nan, 3, 7], [1, 1, 1, 1]], ("not-finite",)),
        ([[1, 1, 1], [1, 1, 1]], ("blank",)),
    ],
)
def test_points(points, flags):
    value = READERS["points"](np.array(points))
    assert (value.flags, value.features.shape) == (flags, (256,))
    assert value.features.sum() == pytest.approx(1)


def test_rows_that_cannot_be_read_are_listed(tmp_path):
    soundfile.write(tmp_path / "good.wav", TONE, 8000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    samples = read_values(Column("audio", [tmp_path / "bad.wav", tmp_path / "good.wav"]), np.array([0, 1]))
    assert samples.rows.tolist() == [1]
    assert samples.unreadable == {0: "bad.wav is damaged or not an audio file (LibsndfileError)"}


def test_truncated_recordings_cannot_be_read(tmp_path):
    for name in ("x.wav", "x.flac"):
        soundfile.write(tmp_path / name, TONE, 8000)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:3000])
    samples = read_values(Column("audio", [tmp_path / "x.wav", tmp_path / "x.flac"]), np.array([0, 1]))
    assert list(samples.unreadable) == [0, 1]
