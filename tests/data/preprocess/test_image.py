"""Images that are not plain: transparent, palette, deep, of one to many channels, rotated, animated."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrun.data.preprocess.image import Pixels
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError
from mmrun.instantiate import instantiate
from tests.data.preprocess.fitted import fitted

SQUARE = np.zeros((8, 8), dtype=bool)
SQUARE[2:6, 2:6] = True


def fit(values, training_rows=None, **arguments) -> Pixels:
    pixels = Pixels(8, **arguments)
    pixels.fit(Column("image", values), np.arange(len(values)) if training_rows is None else np.array(training_rows))
    return pixels


def write_png16(path: Path, pixels: np.ndarray, colour_type: int) -> Path:
    """Write [H, W, channels] uint16, which Pillow cannot: 2 is colour, 4 grey with alpha, 6 colour with alpha."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour_type, 0, 0, 0)
    blocks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + blocks)
    return path


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_shapes_on_transparency_are_seen_and_the_colour_under_it_is_not(tmp_path, mode, level):
    """Black shapes on transparent black were constant pictures."""
    hidden = np.random.default_rng(0).integers(0, 256, (8, 8, 3 if mode == "RGBA" else 1))
    colours = np.where(SQUARE[:, :, None], level, hidden)
    Image.fromarray(np.dstack([colours, SQUARE * 255]).astype(np.uint8), mode).save(tmp_path / "icon.png")
    pixels = fit([tmp_path / "icon.png"])
    decoded = pixels.decode(tmp_path / "icon.png")[""]
    assert decoded.shape[0] == (3 if mode == "RGBA" else 1)
    assert (decoded == np.where(SQUARE, level, 128)).all()
    assert pixels.notes[1] == "1 of 1 images have transparency and are laid on [128, 128, 128] (preprocess.background)"


def test_the_background_can_be_chosen(tmp_path):
    Image.new("RGBA", (8, 8)).save(tmp_path / "empty.png")
    for background, colour in ((255, [255, 255, 255]), ([250, 0, 10], [250, 0, 10])):
        decoded = fit([tmp_path / "empty.png"], background=background).decode(tmp_path / "empty.png")[""]
        assert decoded[:, 0, 0].tolist() == colour
    for background in (256, [1, 2], "white"):
        node = {"_target_": "mmrun.data.preprocess.image.Pixels", "size": 8, "background": background}
        with pytest.raises(ConfigError, match=r"^encoder\.x\.preprocess\.background: "):
            instantiate(node, "encoder.x.preprocess")


def test_a_palette_with_transparency(tmp_path):
    icon = Image.fromarray(SQUARE.astype(np.uint8), "P")
    icon.putpalette([9, 9, 9, 200, 0, 0])
    icon.save(tmp_path / "icon.png", transparency=0)
    decoded = fit([tmp_path / "icon.png"]).decode(tmp_path / "icon.png")[""]
    assert (decoded[0] == np.where(SQUARE, 200, 128)).all()
    assert (decoded[1] == np.where(SQUARE, 0, 128)).all()


def test_transparency_can_be_a_channel(tmp_path):
    Image.fromarray(np.dstack([SQUARE * 7, SQUARE * 255]).astype(np.uint8), "LA").save(tmp_path / "icon.png")
    pixels = fit([tmp_path / "icon.png"], channels=2)
    assert (pixels.decode(tmp_path / "icon.png")[""] == np.stack([SQUARE * 7, SQUARE * 255])).all()
    assert len(pixels.notes) == 1
    assert fit([tmp_path / "icon.png"], channels=4).decode(tmp_path / "icon.png")[""].shape == (4, 8, 8)


def test_sixteen_bits_are_scaled_by_the_range_of_the_training_rows(tmp_path):
    """A 12-bit picture in a 16-bit file had 16 levels left."""
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 65  # 0 to 4095
    Image.fromarray(values).save(tmp_path / "scan.png")
    Image.fromarray(values + 4000).save(tmp_path / "brighter.png")
    pixels = fit([tmp_path / "scan.png", tmp_path / "brighter.png"], training_rows=[0])
    assert pixels.ranges == [(0.0, 4095.0)]
    decoded = pixels.decode(tmp_path / "scan.png")[""]
    assert (decoded.dtype, decoded.shape) == (np.float32, (1, 8, 8))
    np.testing.assert_allclose(decoded[0], values / 4095, atol=1e-6)
    assert pixels.decode(tmp_path / "brighter.png")[""].max() == 1.0
    assert pixels.notes == [
        "8 x 8 pixels, 1 channel",
        "2 of 2 images have more than 8 bits per channel; 0 to 4095, the range of the training rows, becomes 0 to 1",
    ]


@pytest.mark.parametrize("scale", [1.0, 1e-4, 3e6])
def test_float_tiffs_keep_their_range(tmp_path, scale):
    """Values between 0 and 1 became 0 or 1 of 255."""
    values = (np.linspace(-1, 1, 64).reshape(8, 8) * scale).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "height.tif")
    values_with_gap = values.copy()
    values_with_gap[0, 1] = np.nan
    Image.fromarray(values_with_gap).save(tmp_path / "gap.tif")
    pixels = fit([tmp_path / "height.tif", tmp_path / "gap.tif"])
    np.testing.assert_allclose(
        pixels.decode(tmp_path / "height.tif")[""][0], np.linspace(0, 1, 64).reshape(8, 8), atol=1e-6
    )
    assert np.isfinite(pixels.decode(tmp_path / "gap.tif")[""]).all()


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 3), (4, 1)])
def test_colours_of_sixteen_bits_are_read_whole(tmp_path, colour_type, channels):
    """Pillow reads the upper 8 bits of them."""
    alpha = colour_type in (4, 6)
    values = np.arange(64 * channels, dtype=np.uint16).reshape(8, 8, channels)
    if alpha:
        values = np.dstack([values, np.full((8, 8), 65535, dtype=np.uint16)])
    pixels = fit([write_png16(tmp_path / "deep.png", values, colour_type)])
    decoded = pixels.decode(tmp_path / "deep.png")[""]
    assert decoded.shape == (channels, 8, 8)
    np.testing.assert_allclose(decoded, values[:, :, :channels].transpose(2, 0, 1) / (64 * channels - 1), atol=1e-6)


def test_deep_transparency_is_laid_on_the_background_too(tmp_path):
    values = np.dstack([np.full((8, 8), 1000), SQUARE * 65535]).astype(np.uint16)
    pixels = fit([write_png16(tmp_path / "deep.png", values, 4)], background=0)
    assert (pixels.decode(tmp_path / "deep.png")[""] == SQUARE).all()  # 1000 above 0


def test_plain_and_deep_images_together(tmp_path):
    Image.fromarray(np.full((8, 8), 51, dtype=np.uint8)).save(tmp_path / "plain.png")
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(tmp_path / "deep.png")
    paths = [tmp_path / "plain.png", tmp_path / "deep.png"]
    both = fit(paths)
    assert both.decode(paths[0])[""].dtype == np.float32
    assert both.decode(paths[0])[""][0, 0, 0] == np.float32(0.2)
    with pytest.raises(DataError) as error:
        fit(paths, training_rows=[0]).decode(paths[1])
    assert str(error.value) == "deep.png has more than 8 bits per channel, but no training image has; convert it"


def test_a_constant_deep_image_is_safe():
    values = np.full((8, 8), 0.1)
    assert np.abs(fit([values]).decode(values + 1e-9)[""]).max() < 1e-6


def test_all_rows_decide_about_colour():
    """The first 32 rows did: the colours of the others were lost."""
    images = [np.zeros((8, 8), dtype=np.uint8)] * 40 + [np.zeros((3, 8, 8), dtype=np.uint8)] * 40
    pixels = fit(images)
    assert pixels.metadata["in_channels"] == 3
    assert pixels.notes == ["8 x 8 pixels, 3 channels; 40 of 80 images are grey"]
    assert fit(images, channels=1).notes == ["8 x 8 pixels, 1 channel; 40 of 80 images are in colour and become grey"]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_many_channels_from_npy_files(tmp_path, dtype):
    values = (np.arange(5 * 64).reshape(5, 8, 8) % 251).astype(dtype)
    np.save(tmp_path / "bands.npy", values)
    pixels = fit([tmp_path / "bands.npy", values])
    assert pixels.metadata == {"in_channels": 5, "image_size": 8}
    decoded = pixels.decode(tmp_path / "bands.npy")[""]
    assert decoded.dtype == dtype
    expected = (
        values
        if dtype == np.uint8
        else (values - values.min((1, 2), keepdims=True)) / np.ptp(values, (1, 2))[:, None, None]
    )
    np.testing.assert_allclose(decoded, expected, atol=1e-6)
    assert pixels.decode(values.repeat(2, axis=1).repeat(2, axis=2))[""].shape == (5, 8, 8)
    for wrong in (np.zeros((4, 8, 8), dtype), np.zeros((8, 8), dtype)):
        with pytest.raises(DataError) as error:
            pixels.decode(wrong)
        assert str(error.value) == (
            f"the image has {len(wrong) if wrong.ndim == 3 else 1} channels, but the encoder reads 5; "
            "give all the same number"
        )


def test_cmyk_becomes_colour(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
    decoded = fit([tmp_path / "print.jpg"]).decode(tmp_path / "print.jpg")[""]
    assert decoded.shape[0] == 3
    assert decoded[0].min() > 240
    assert decoded[1:].max() < 15


@pytest.mark.parametrize("deep", [False, True])
def test_the_orientation_in_exif_is_obeyed(tmp_path, deep):
    half = np.zeros((8, 8), dtype=np.uint16 if deep else np.uint8)
    half[:4] = 255  # bright above
    rotated = Image.Exif()
    rotated[0x0112] = 6  # turn by 90 degrees to the right
    Image.fromarray(half).save(tmp_path / "phone.png", exif=rotated)
    decoded = fit([tmp_path / "phone.png"]).decode(tmp_path / "phone.png")[""][0]
    assert (decoded[:, 4:] == (1 if deep else 255)).all()
    assert (decoded[:, :4] == 0).all()


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_frame_is_read_and_that_is_said(tmp_path, suffix):
    frames = [Image.new("L", (8, 8), level) for level in (40, 200)]
    frames[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    pixels = fit([tmp_path / f"film.{suffix}", np.zeros((8, 8), dtype=np.uint8)])
    assert (pixels.decode(tmp_path / f"film.{suffix}")[""] == 40).all()
    assert pixels.notes[-1] == "1 of 2 images have several frames or pages; the first one is read"


def test_what_the_crop_cuts_is_said():
    pixels = fit([np.zeros((8, 16), dtype=np.uint8), np.zeros((8, 8), dtype=np.uint8)])
    assert pixels.notes == ["8 x 8 pixels, 1 channel; cropped to the centre, which cuts 25.0% of the area"]


def test_a_damaged_image_is_left_to_the_decoding(media):
    assert fit([media / "note.txt", media / "grey.png"]).metadata["in_channels"] == 1


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_images_are_resized_and_cropped(media, suffix):
    pixels = fitted(Pixels(16), "image", [media / f"colour.{suffix}", None])
    decoded = pixels.decode(media / f"colour.{suffix}")[""]
    assert (decoded.dtype, decoded.shape) == (np.uint8, (3, 16, 16))
    assert pixels.metadata == {"in_channels": 3, "image_size": 16}
    red = decoded[0].mean(0)  # the middle two thirds of a ramp from 0 to 255
    assert abs(red[0] - 48) < 8
    assert abs(red[-1] - 207) < 8


def test_grey_images_stay_grey(media):
    pixels = fitted(Pixels(16), "image", [media / "grey.png", media / "grey.jpg"])
    assert pixels.metadata["in_channels"] == 1
    assert pixels.decode(media / "colour.png")[""].shape == (1, 16, 16)
    assert fitted(Pixels(16), "image", [media / "grey.png", media / "colour.png"]).metadata["in_channels"] == 3
    assert fitted(Pixels(16, channels=3), "image", [media / "grey.png"]).decode(media / "grey.png")[""].shape[0] == 3


def test_an_image_of_the_right_shape_in_memory_is_returned_as_it_is():
    picture = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    pixels = fitted(Pixels(8), "image", [picture])
    assert (pixels.decode(picture)[""] == picture).all()
    assert fitted(Pixels(4), "image", [picture]).decode(picture[0])[""].shape == (1, 4, 4)


def test_a_damaged_image(media):
    content = (media / "colour.png").read_bytes()
    (media / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError) as error:
        Pixels(16, channels=3).decode(media / "cut.png")
    assert str(error.value) == "cut.png is damaged or not an image (OSError)"
    with pytest.raises(DataError) as error:
        Pixels(16, channels=3).decode(media / "note.txt")
    assert str(error.value) == "note.txt is damaged or not an image (UnidentifiedImageError)"
