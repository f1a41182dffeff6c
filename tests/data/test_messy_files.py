"""Files as people have them, named in cells: each is read as one expects, or one line says what is wrong."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from mmrun.data import unreadable
from mmrun.data.preprocess import items
from mmrun.data.preprocess.audio import Waveform
from mmrun.data.preprocess.image import Pixels
from mmrun.data.preprocess.series import Steps
from mmrun.data.sources.manifest import describe, manifest
from mmrun.data.store import open_column
from mmrun.errors import ConfigError, DataError
from tests.data.files import error_of, write

PREPROCESSORS = {"image": lambda: Pixels(8), "audio": lambda: Waveform(8000, 1.0), "series": lambda: Steps(16)}
HEIC = b"\0\0\0\x18ftypheic" + bytes(20)
M4A = b"\0\0\0\x20ftypM4A " + bytes(30)
MP4 = b"\0\0\0\x20ftypisom" + bytes(30)
PNG_BOMB_SIDE = 60_000  # pixels


def write_png_header(path, side):
    """Write a PNG that claims to be square and large."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = b""
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")):
        chunks += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def write_pictures(folder):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (20, 30)).astype(np.uint8)
    colour = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    picture, page = Image.fromarray(colour), Image.fromarray(255 - colour)
    plain = {
        **{f"ok.{suffix}": picture for suffix in ("png", "jpg", "webp", "bmp", "ppm", "tga", "jfif", "jp2")},
        "grey.png": Image.fromarray(grey),
        "bits.png": Image.fromarray(grey > 128),
        "alpha.png": Image.fromarray(np.dstack([colour, grey])),
        "grey_alpha.png": Image.fromarray(grey).convert("LA"),
        "cmyk.jpg": picture.convert("CMYK"),
        "palette.gif": picture.convert("P"),
        "lab.tif": picture.convert("LAB"),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 200),
        "float.tif": Image.fromarray(grey / np.float32(9)),
    }
    for name, image in plain.items():
        image.save(folder / name, **({"format": "JPEG"} if name.endswith("jfif") else {}))
    picture.save(folder / "pages.tif", save_all=True, append_images=[page, page])
    picture.convert("P").save(folder / "frames.gif", save_all=True, append_images=[page.convert("P")])
    np.save(folder / "five.npy", rng.random((5, 20, 30)).astype(np.float32))
    np.save(folder / "last.npy", colour)
    for name in ("ok.png", "ok.jpg"):
        content = (folder / name).read_bytes()
        (folder / f"half-{name}").write_bytes(content[: len(content) // 2])
    (folder / "png.jpg").write_bytes((folder / "ok.png").read_bytes())
    contents = {
        "empty.png": b"",
        "text.png": b"hello",
        "heic.jpg": HEIC,
        "a.heic": HEIC,
        "pdf.png": b"%PDF-1.4",
        "a.svg": b"<svg/>",
        "svg.png": b"<svg></svg>",
        "a.cr2": b"II*\0",
        "a.pdf": b"%PDF-1.4",
        "a.nii.gz": b"\x1f\x8b",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    write_png_header(folder / "large.png", 9000)


def write_sounds(folder):
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype(np.float32)
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"):
        soundfile.write(folder / f"{subtype}.wav", tone, 8000, subtype=subtype)
    for suffix in ("flac", "mp3", "ogg", "aiff"):
        soundfile.write(folder / f"ok.{suffix}", tone, 8000)
    soundfile.write(folder / "ok.opus", tone, 8000, format="OGG", subtype="OPUS")
    soundfile.write(folder / "six.wav", np.stack([tone] * 6, axis=1), 8000)
    soundfile.write(folder / "fast.wav", np.repeat(tone, 6), 48000)
    soundfile.write(folder / "none.wav", tone[:0], 8000)
    soundfile.write(folder / "nan.wav", np.where(tone > 0.49, np.nan, tone), 8000, subtype="FLOAT")
    for name in ("PCM_16.wav", "ok.mp3", "ok.flac"):
        content = (folder / name).read_bytes()
        (folder / f"half-{name}").write_bytes(content[: len(content) // 2])
    content = (folder / "PCM_16.wav").read_bytes()
    (folder / "streamed.wav").write_bytes(content[:40] + b"\xff\xff\xff\xff" + content[44:])  # ffmpeg writes this
    (folder / "mp3.wav").write_bytes((folder / "ok.mp3").read_bytes())
    for name, content in {"empty.wav": b"", "text.wav": b"x", "a.m4a": M4A, "m4a.wav": M4A, "film.wav": MP4}.items():
        (folder / name).write_bytes(content)


def write_series(folder):
    for length in (40, 50):
        np.save(folder / f"time{length}.npy", np.zeros((length, 3)))
    np.save(folder / "cube.npy", np.zeros((7, 7, 7)))
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (folder / "steps.csv").write_text("a,b\n1,2\n3,4\n")
    (folder / "ragged.csv").write_text("1,2\n3\n")
    (folder / "r.hea").write_text("r 2 360 3\nr.dat 16\nr.dat 16\n")
    (folder / "r.dat").write_bytes(np.arange(6, dtype="<i2").tobytes())
    (folder / "out.hea").write_text("r 1 360 3\n../secret.dat 16\n")
    (folder / "lost.hea").write_text("r 1 360 3\nlost.dat 16\n")
    (folder / "a.mat").write_bytes(b"MATLAB 5.0")
    (folder / "a.h5").write_bytes(b"\x89HDF")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A folder of files as people have them."""
    folder = tmp_path_factory.mktemp("zoo")
    write_pictures(folder)
    write_sounds(folder)
    write_series(folder)
    return folder


def read(folder: Path, tmp_path: Path, kind: str, cell: str, **options):
    """Return the decoded first row, and the notes, of a column whose cells are all the same."""
    lines = [f"{cell}\t{'ab'[row % 2]}" for row in range(12)]
    path = write(tmp_path, "\n".join(["x\tlabel", *lines]) + "\n", "my.tsv")
    column = manifest(path, root=str(folder), **options).columns["x"]
    assert column.kind == kind
    preprocessor = items.wrap(PREPROCESSORS[kind](), column)
    preprocessor.fit(column, np.arange(10))
    return preprocessor.decode(column.values[0]), getattr(preprocessor, "notes", [])


@pytest.mark.parametrize(
    ("cell", "channels"),
    [
        *((f"ok.{suffix}", 3) for suffix in ("png", "jpg", "webp", "bmp", "ppm", "tga", "jfif", "jp2")),
        *[("png.jpg", 3), ("alpha.png", 3), ("cmyk.jpg", 3), ("palette.gif", 3), ("lab.tif", 3), ("pages.tif", 3)],
        *[
            ("frames.gif", 3),
            ("grey.png", 1),
            ("bits.png", 1),
            ("grey_alpha.png", 1),
            ("deep.png", 1),
            ("float.tif", 1),
        ],
    ],
)
def test_pictures_that_are_read(zoo, tmp_path, cell, channels):
    decoded, _ = read(zoo, tmp_path, "image", cell)
    assert decoded[""].shape == (channels, 8, 8)
    assert decoded[""].std() > 0


@pytest.mark.parametrize("cell", ["pages.tif", "frames.gif"])
def test_of_several_pages_the_first_is_read_and_said(zoo, tmp_path, cell):
    _, notes = read(zoo, tmp_path, "image", cell)
    assert notes[-1] == "12 of 12 images have several frames or pages; the first one is read"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("half-ok.png", "half-ok.png is damaged or not an image (OSError)"),
        ("half-ok.jpg", "half-ok.jpg is damaged or not an image (OSError)"),
        ("text.png", "text.png is damaged or not an image (UnidentifiedImageError)"),
        ("large.png", "large.png has 9000 x 9000 pixels; more than 67 million are refused, so resize it"),
        ("heic.jpg", "heic.jpg is a HEIC picture, which is not read; convert it to JPEG or PNG"),
        ("svg.png", "svg.png is an SVG drawing, which is not read; export it as PNG"),
        ("pdf.png", "pdf.png is a PDF, which is not read; save its text as .txt, or its pages as PNG"),
    ],
)
def test_pictures_that_cannot_be_decoded(zoo, tmp_path, cell, message):
    with pytest.raises(DataError) as error:
        read(zoo, tmp_path, "image", cell)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("empty.png", "'empty.png' is empty or not a file; replace it"),
        ("a.heic", "'a.heic' is a HEIC picture, which is not read; convert it to JPEG or PNG"),
        ("a.svg", "'a.svg' is an SVG drawing, which is not read; export it as PNG"),
        ("a.cr2", "'a.cr2' is a RAW photograph, which is not read; develop it to JPEG, PNG or 16-bit TIFF"),
        (
            "a.nii.gz",
            "'a.nii.gz' is a NIfTI volume, which is not read; save its slices as PNG or .npy, several in a cell",
        ),
        ("a.pdf", "'a.pdf' is a PDF, which is not read; save its text as .txt, or its pages as PNG"),
        ("a.m4a", "'a.m4a' is AAC or WMA sound, which is not read; convert it to FLAC, WAV or MP3"),
        ("empty.wav", "'empty.wav' is empty or not a file; replace it"),
        ("a.mat", "'a.mat' is a MATLAB or HDF5 file, which is not read; save the series as .npy or .csv"),
        ("a.h5", "'a.h5' is a MATLAB or HDF5 file, which is not read; save the series as .npy or .csv"),
        ("out.hea", "out.hea names a signal file in another folder; put all files of a record together"),
        ("lost.hea", "'lost.dat' does not exist; correct the name, or set dataset.root=FOLDER"),
        ("ok.png|gone.png", "'gone.png' does not exist; correct the name, or set dataset.root=FOLDER"),
        ("ok.png|../x.png", "'../x.png' lies outside ROOT; set dataset.root=FOLDER or dataset.allow_outside=true"),
        ("|".join(["ok.png"] * 300), "names 300 files; at most 256 in a cell are read"),
    ],
)
def test_files_that_are_refused_by_name(zoo, tmp_path, cell, message):
    message = f"my.tsv:2: column 'x': {message.replace('ROOT', str(zoo))}"
    path = write(tmp_path, "x\tlabel\n" + f"{cell}\ta\n{cell}\tb\n" * 6, "my.tsv")
    assert error_of(DataError, path, root=str(zoo)) == message


@pytest.mark.parametrize(
    "cell",
    [
        *(f"{subtype}.wav" for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")),
        *(f"ok.{suffix}" for suffix in ("flac", "mp3", "ogg", "opus", "aiff")),
        *["six.wav", "fast.wav", "streamed.wav", "mp3.wav"],
    ],
)
def test_sounds_that_are_read(zoo, tmp_path, cell):
    decoded, _ = read(zoo, tmp_path, "audio", cell)
    assert decoded["length"] == 8000
    assert decoded["waveform"].std() == pytest.approx(0.5 / 2**0.5 * 32768, rel=0.03)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("none.wav", "none.wav contains no audio (0 samples)"),
        ("nan.wav", "nan.wav holds samples that are NaN or infinite; replace it"),
        ("half-PCM_16.wav", "half-PCM_16.wav is cut off: it holds 7,978 of 16,000 bytes of sound; replace it"),
        ("half-ok.flac", "half-ok.flac is damaged or not an audio file (LibsndfileError)"),
        ("text.wav", "text.wav is damaged or not an audio file (LibsndfileError)"),
        ("m4a.wav", "m4a.wav is AAC or WMA sound, which is not read; convert it to FLAC, WAV or MP3"),
        (
            "film.wav",
            "film.wav is video or sound in an MP4 file, which is not read; give videos a column of their own, or "
            "convert the sound to FLAC, WAV or MP3",
        ),
    ],
)
def test_sounds_that_cannot_be_decoded(zoo, tmp_path, cell, message):
    with pytest.raises(DataError) as error:
        read(zoo, tmp_path, "audio", cell)
    assert str(error.value) == message


def test_a_compressed_sound_that_is_cut_off_is_an_error(zoo, tmp_path):
    with pytest.raises(DataError, match=r"^half-ok\.mp3 is cut off: it holds [\d,]+ of 8,000 samples; replace it$"):
        read(zoo, tmp_path, "audio", "half-ok.mp3")


@pytest.mark.parametrize(
    ("cell", "shape", "note"),
    [
        (
            "time40.npy",
            (3, 16),
            "time is the first axis (the longer axis); dataset.layout.NAME=channels_first reads the other one; "
            "dataset.kinds.NAME=points reads points",
        ),
        ("steps.csv", (2, 16), "2 channels; 16 steps are read: none of 12 rows is cut (the longest has 2 steps)"),
        ("r.hea", (2, 16), "sampled at 360 Hz"),
        (
            "[[1, 2, 3], [4, 5, 6]]",
            (2, 16),
            "time is the second axis (the longer axis); dataset.layout.NAME=time_first reads the other one",
        ),
    ],
)
def test_series_that_are_read(zoo, tmp_path, cell, shape, note):
    decoded, notes = read(zoo, tmp_path, "series", cell)
    assert decoded["values"].shape == shape
    assert notes[-1] == note


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("cube.npy", "cube.npy is float64 [7, 7, 7], but must be numbers [channels, steps] or [steps]"),
        ("objects.npy", "objects.npy is damaged or not a numeric array (ValueError)"),
        ("ragged.csv", "ragged.csv:2: is not a step of 2 numbers"),
    ],
)
def test_series_that_cannot_be_decoded(zoo, tmp_path, cell, message):
    with pytest.raises(DataError) as error:
        read(zoo, tmp_path, "series", cell)
    assert str(error.value) == message


def test_a_layout_that_is_set_counts(zoo, tmp_path):
    decoded, _ = read(zoo, tmp_path, "series", "time40.npy", layout={"x": "channels_first"})
    assert decoded["values"].shape == (40, 16)


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("ok.png|grey.png", 2),
        ("ok.png; grey.png; bits.png", 3),
        ('["ok.png", "grey.png"]', 2),
        ("PCM_16.wav|ok.mp3", 2),
    ],
)
def test_several_files_in_a_cell(zoo, tmp_path, cell, names):
    decoded, notes = read(zoo, tmp_path, "audio" if "wav" in cell else "image", cell)
    assert decoded["items"].tolist() == [True] * names
    assert notes[-1].startswith(f"{names} files in a row: the mean")


def test_a_name_that_holds_a_separator_is_one_file(zoo, tmp_path):
    (tmp_path / "a.png|b.png").write_bytes((zoo / "ok.png").read_bytes())
    decoded, _ = read(tmp_path, tmp_path, "image", "a.png|b.png")
    assert decoded[""].shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"items": {"y": "tokens"}},
            "dataset.items.y: this is for modalities of the kind image or audio or points (there are x)",
        ),
        (
            {"layout": {"x": "time_first"}},
            "dataset.layout.x: this is for modalities of the kind series (there are none)",
        ),
    ],
)
def test_options_of_other_modalities_are_errors(zoo, tmp_path, options, message):
    path = write(tmp_path, "x\tlabel\n" + "ok.png\ta\nok.png\tb\n" * 6, "my.tsv")
    assert error_of(ConfigError, path, root=str(zoo), **options) == message


def test_a_mark_among_file_names_is_a_missing_picture(zoo, tmp_path):
    lines = [f"{'NA' if row == 7 else 'ok.png'}\t{row}\t{'ab'[row % 2]}" for row in range(24)]
    path = write(tmp_path, "\n".join(["x\tage\tlabel", *lines]) + "\n", "my.tsv")
    table = manifest(path, root=str(zoo))
    assert table.columns["x"].kind == "image"
    assert np.flatnonzero(~table.columns["x"].is_present()).tolist() == [7]


def test_one_bad_name_does_not_make_a_column_of_pictures_a_text(zoo, tmp_path):
    lines = [f"{'picture 7' if row == 7 else 'ok.png'}\t{'ab'[row % 2]}" for row in range(24)]
    path = write(tmp_path, "\n".join(["x\tlabel", *lines]) + "\n", "my.tsv")
    assert describe(path=path) == {"x": "image"}
    assert error_of(DataError, path, root=str(zoo)) == (
        "my.tsv:9: column 'x': 'picture 7' does not exist; correct the name, or set dataset.root=FOLDER"
    )


def test_skipping_leaves_out_exactly_the_bad_rows(zoo, tmp_path):
    bad = ["empty.png", "a.heic", "gone.png", "half-ok.png", "ok.png|text.png", "heic.jpg", "large.png"]
    cells = [*["ok.png", "grey.png|ok.jpg"] * 6, *bad]
    lines = [f"{cell}\t{'ab'[row % 2]}" for row, cell in enumerate(cells)]
    path = write(tmp_path, "\n".join(["x\tlabel", *lines]) + "\n", "my.tsv")
    table = manifest(path, root=str(zoo), kinds={"x": "image"}, on_error="skip")
    preprocessor = items.wrap(Pixels(8), table.columns["x"])
    preprocessor.fit(table.columns["x"], table.rows("train"))
    column = open_column(table.columns["x"], preprocessor, "key", tmp_path / "cache", 1 << 30, "skip")
    reasons = [*table.skipped, *column.bad]
    assert sorted(int(reason.split(":")[1]) for reason in reasons) == list(range(14, 21))
    assert len(column.present) - len(column.bad) == 12


def test_identifiers_are_left_out_and_long_numbers_warned_of(tmp_path):
    lines = [f"P{row:03},{row * 7919 + 10**9},same,{row % 5},{'ab'[row % 2]}" for row in range(40)]
    path = write(tmp_path, "\n".join(["patient_id,account,site,age,label", *lines]) + "\n")
    table = manifest(path)
    assert table.fields == {"tabular": ["account", "site", "age"]}
    assert table.notes[-1] == (
        "column 'patient_id' is different in each row, and is left out; dataset.columns.NAME=patient_id reads it"
    )
    assert table.warnings == [
        "tabular: column 'account' has a different long number in each row; if they are identifiers, leave it out with "
        "dataset.columns",
        "tabular: column 'site' is the same in all training rows",
    ]


def test_ids_that_repeat_are_read(tmp_path):
    lines = [f"P{row % 9},{'ab'[row % 2]}" for row in range(40)]
    table = manifest(write(tmp_path, "\n".join(["patient_id,label", *lines]) + "\n"))
    assert table.fields == {"tabular": ["patient_id"]}


def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(unreadable.LIBRARIES, ".dcm", "a_library_of_dicom")
    (tmp_path / "a.dcm").write_bytes(b"x")
    path = write(tmp_path, "x,label\n" + "a.dcm,a\na.dcm,b\n" * 6)
    assert error_of(DataError, path).startswith(
        "my.csv:2: column 'x': 'a.dcm' is read by a_library_of_dicom; install it with"
    )
