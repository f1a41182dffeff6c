import io
import wave

import numpy as np
import pytest
import soundfile
from PIL import Image

from mmrun.data.checks import samples
from mmrun.data.checks.samples import Lines, Media, Problem, draw_samples
from mmrun.data.sources.manifest import manifest


def open_rows(tmp_path, column: str, cells: list[str], **arguments):
    lines = [f"{column},label", *(f"{cell},{'ab'[row % 2]}" for row, cell in enumerate(cells))]
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")
    return manifest(str(tmp_path / "my.csv"), **arguments)


def draw_one(tmp_path, column: str, cell: str):
    drawn, _ = draw_samples(open_rows(tmp_path, column, [cell] * 10))
    return drawn["a"][0].values[column]


def test_a_few_rows_of_each_class_are_drawn(tmp_path):
    table = open_rows(tmp_path, "text", [f"a long text {row}" for row in range(20)])
    drawn, notes = draw_samples(table)
    assert {name: len(rows) for name, rows in drawn.items()} == {"a": 3, "b": 3}
    assert all(sample.targets == {"label": "a"} for sample in drawn["a"])
    assert notes == []
    assert draw_samples(table)[0] == drawn


def test_rows_of_each_range_of_numbers_are_drawn(tmp_path):
    lines = ["text,label", *(f"a text {row},{row}.5" for row in range(100))]
    (tmp_path / "my.csv").write_text("\n".join(lines))
    drawn, _ = draw_samples(manifest(str(tmp_path / "my.csv")))
    assert list(drawn)[:2] == ["label 0.5 to 9.5", "label 10.5 to 19.5"]


@pytest.mark.parametrize(
    ("mode", "size", "shown"),
    [
        ("RGB", (400, 200), (160, 80)),
        ("L", (8, 8), (160, 160)),
        ("RGBA", (30, 10), (150, 50)),
        ("P", (160, 1), (160, 1)),
        ("CMYK", (50, 50), (150, 150)),
        ("1", (50, 50), (150, 150)),
    ],
)
def test_pictures_of_any_mode_are_made_small(tmp_path, mode, size, shown):
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new(mode, size).save(tmp_path / f"a.{suffix}")
    media = draw_one(tmp_path, "photo", f"a.{suffix}")
    assert (media.kind, media.label) == ("image/jpeg", f"{size[0]} x {size[1]}")
    assert Image.open(io.BytesIO(media.content)).size == shown


def test_transparent_pixels_are_grey(tmp_path):
    Image.new("RGBA", (160, 160), (255, 255, 255, 0)).save(tmp_path / "a.png")
    picture = Image.open(io.BytesIO(draw_one(tmp_path, "photo", "a.png").content))
    assert picture.getpixel((80, 80)) == (128, 128, 128)


@pytest.mark.parametrize("shape", [(20, 30), (3, 20, 30), (7, 20, 30)])
def test_arrays_are_pictures(tmp_path, shape):
    pixels = np.linspace(-1, 1, np.prod(shape)).reshape(shape)
    pixels.flat[0] = np.nan
    np.save(tmp_path / "a.npy", pixels)
    table = open_rows(tmp_path, "photo", ["a.npy"] * 10, kinds={"photo": "image"})
    media = draw_samples(table)[0]["a"][0].values["photo"]
    assert isinstance(media, Media)
    assert Image.open(io.BytesIO(media.content)).size == (150, 100)


@pytest.mark.parametrize(("rate", "shown_rate"), [(8000, 8000), (44_100, 11_025), (48_000, 12_000)])
def test_sounds_are_short_and_of_one_channel(tmp_path, rate, shown_rate):
    time = np.arange(5 * rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], axis=1), rate)
    media = draw_one(tmp_path, "sound", "a.wav")
    with wave.open(io.BytesIO(media.content)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, shown_rate, 3 * shown_rate)
    assert media.label == f"the first 3.0 s at {shown_rate} Hz"


def test_series_are_lines_with_few_points(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((5, 10_000)))
    lines = draw_one(tmp_path, "pulse", "a.npy")
    assert isinstance(lines, Lines)
    assert [len(channel) for channel in lines.channels] == [150, 150, 150]
    assert lines.label == "10000 steps, channels: 5, 3 shown"


def test_points_are_drawn_from_above(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0, 0, 5], [9, 9, 7]]))
    media = draw_one(tmp_path, "lidar", "a.npy")
    image = Image.open(io.BytesIO(media.content))
    assert (image.size, media.label) == ((160, 160), "2 points from above")
    assert image.getpixel((0, 159)) > 100
    assert image.getpixel((0, 0)) < 30


def test_long_texts_and_cells_are_cut(tmp_path):
    assert draw_one(tmp_path, "text", "ab " * 1000) == ("ab " * 1000)[:400] + " ..."


def test_a_damaged_file_is_said(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    problem = draw_one(tmp_path, "photo", "a.png")
    assert problem == Problem("a.png is damaged or not an image (UnidentifiedImageError)")


def test_pictures_end_where_they_take_too_much_room(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "MAX_BYTES", 2000)
    Image.effect_noise((160, 160), 100).save(tmp_path / "a.png")
    drawn, notes = draw_samples(open_rows(tmp_path, "photo", ["a.png"] * 10))
    assert drawn == {}
    assert notes == ["samples end where pictures and sounds take more than 0 MiB"]


def test_time_may_be_the_first_axis_of_a_series(tmp_path):
    for row in range(10):
        np.save(tmp_path / f"{row}.npy", np.ones((20 + row, 2)))
    drawn, _ = draw_samples(open_rows(tmp_path, "wave", [f"{row}.npy" for row in range(10)]))
    assert {sample.values["wave"].label.split(" ", 1)[1] for sample in drawn["a"]} == {"steps, channels: 2"}
