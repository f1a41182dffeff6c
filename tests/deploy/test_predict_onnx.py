"""The script that predicts without mmrun decodes rows as mmrun does, bit for bit."""

import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from mmrun.data.file_resolver import FileResolver
from mmrun.data.names import normalize_name
from mmrun.data.preprocess.audio import Waveform
from mmrun.data.preprocess.image import Pixels
from mmrun.data.preprocess.series import Steps
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.preprocess.text import Tokens
from mmrun.data.sheets.numbers import as_number
from mmrun.data.sheets.sheet import read_sheet
from mmrun.data.table import Column
from mmrun.deploy import predict_onnx as script
from mmrun.results.csv import escape_formula


def assert_same_parts(decoded, expected):
    assert list(decoded) == list(expected)
    for name, array in expected.items():
        assert decoded[name].dtype == array.dtype, name
        np.testing.assert_array_equal(decoded[name], array)


def as_json(state):
    return json.loads(json.dumps(state))


@pytest.fixture
def files(tmp_path):
    return script.Files(tmp_path, allow_outside=False)


def noise(*shape, dtype=np.uint8):
    generator = np.random.default_rng(0)
    return generator.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


TRANSFORMS = [
    {"impute": "median", "scale": "robust", "encode": "one_hot"},
    {"impute": "constant", "fill_value": 5.0, "scale": "quantile", "encode": "frequency"},
    {"log_skew": 0.1, "clip_quantile": 0.1, "min_frequency": 2},
    {"clip_sigmas": 1.0, "scale": "none"},
]

PICTURES = {
    "grey.png": Image.fromarray(noise(40, 30)),
    "colour.png": Image.fromarray(noise(30, 40, 3)),
    "clear.png": Image.fromarray(noise(33, 33, 4)),
    "palette.png": Image.fromarray(noise(30, 30, 3)).convert("P"),
    "photo.jpg": Image.fromarray(noise(200, 300, 3)),
    "animated.gif": Image.fromarray(noise(20, 20)),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_the_same_pixels(name, channels, files, tmp_path):
    PICTURES[name].save(tmp_path / name)
    pixels = Pixels(size=16, channels=channels, background=(10, 200, 30))
    assert_same_parts(script.decode_image(name, as_json(pixels.state()), files), pixels.decode(tmp_path / name))


def test_rotated_photos_are_upright(files, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    PICTURES["photo.jpg"].save(tmp_path / "rotated.jpg", exif=exif)
    pixels = Pixels(size=16, channels=3)
    assert_same_parts(
        script.decode_image("rotated.jpg", pixels.state(), files), pixels.decode(tmp_path / "rotated.jpg")
    )


@pytest.mark.parametrize("array", [noise(3, 20, 30), noise(20, 30), noise(16, 16) > 9, noise(1, 16, 16)])
def test_arrays_are_the_same_pixels(array, files, tmp_path):
    np.save(tmp_path / "array.npy", array)
    pixels = Pixels(size=16, channels=3)
    assert_same_parts(script.decode_image("array.npy", pixels.state(), files), pixels.decode(tmp_path / "array.npy"))


@pytest.mark.parametrize("name", ["deep.png", "deep.npy", "shallow.png"])
def test_deep_pictures_are_scaled_by_the_range_of_the_training_rows(name, files, tmp_path):
    deep = noise(20, 30, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.save(tmp_path / "deep.npy", deep)
    PICTURES["grey.png"].save(tmp_path / "shallow.png")
    pixels = Pixels(size=16)
    pixels.fit(Column("image", [tmp_path / "deep.png"]), np.arange(1))
    assert_same_parts(script.decode_image(name, as_json(pixels.state()), files), pixels.decode(tmp_path / name))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 4000])
@pytest.mark.parametrize("channels", [1, 2])
def test_sounds_are_the_same_samples(rate, channels, files, tmp_path):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (rate // 2, channels))
    soundfile.write(tmp_path / "sound.wav", samples, rate)
    for seconds in (0.3, 1.0):
        waveform = Waveform(8000, seconds)
        assert_same_parts(
            script.decode_audio("sound.wav", waveform.state(), files), waveform.decode(tmp_path / "sound.wav")
        )


@pytest.mark.parametrize(
    "options",
    [
        {"trim_db": 30.0, "loudness": "rms"},
        {"mono": "left", "loudness": "lufs", "level": -30.0},
        {"mono": "right", "trim_db": 20.0},
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_transformed_sounds_are_the_same_samples(options, channels, files, tmp_path):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (11025, channels)) * np.linspace(0, 1, 11025)[:, None]
    soundfile.write(tmp_path / "sound.wav", samples, 11025)
    waveform = Waveform(8000, 0.9, **options)
    assert_same_parts(
        script.decode_audio("sound.wav", as_json(waveform.state()), files), waveform.decode(tmp_path / "sound.wav")
    )


@pytest.mark.parametrize("text", ["a tall one", "Ünïcode 日本", "word " * 99, "a.txt", "missing.txt", ""])
def test_texts_are_the_same_tokens(text, files, tmp_path):
    (tmp_path / "a.txt").write_text("a short one", encoding="utf-16")
    tokens = Tokens(vocab_size=60, max_tokens=12)
    tokens.fit(Column("text", ["a tall one", "a short one"] * 5), np.arange(10))
    state = as_json(tokens.state())
    value = tmp_path / text if text == "a.txt" else text
    assert_same_parts(script.build_text_decoder(state)(text, state, files), tokens.decode(value))


def test_normalised_texts_are_the_same_tokens(files):
    tokens = Tokens(60, 12, normalize=["html", "urls", "users", "accents", "whitespace"])
    tokens.fit(Column("text", ["a tall one", "a <b>short</b> one"] * 5), np.arange(10))
    state, text = as_json(tokens.state()), "@Ann:  a <i>shórt</i> one, https://a.b &amp; more"
    assert_same_parts(script.build_text_decoder(state)(text, state, files), tokens.decode(text))


@pytest.mark.parametrize("options", [{"scale": "row"}, {"scale": "none"}, {"resample": 7}])
def test_transformed_series_are_the_same_steps(options, files):
    series = [[1, 5, 2, 8, 9.5], [3, 3, 3, 3, 3]]
    steps = Steps(**options)
    steps.fit(Column("series", [series]), np.arange(1))
    assert_same_parts(script.decode_series(json.dumps(series), as_json(steps.state()), files), steps.decode(series))


@pytest.mark.parametrize("layout", ["channels_first", "time_first"])
def test_series_are_the_same_steps(layout, files, tmp_path):
    series = np.random.default_rng(0).normal(5, 3, (2, 9) if layout == "channels_first" else (9, 2)).astype(np.float32)
    series[0, 0] = np.nan
    np.save(tmp_path / "series.npy", series)
    for num_steps in (6, 12):
        steps = Steps(num_steps)
        steps.fit(Column("series", [series], layout=layout), np.arange(1))
        state = as_json(steps.state())
        assert_same_parts(script.decode_series("series.npy", state, files), steps.decode(series))
        text = json.dumps(np.nan_to_num(series).tolist())
        assert_same_parts(script.decode_series(text, state, files), steps.decode(np.nan_to_num(series)))


@pytest.mark.parametrize(
    "cell", ["1 2 3", "(0,5; 1; 2)", "[1, NaN, 3]", "1,2", "[1.5]", "[[1, 2], [3, 4]]", "steps.csv"]
)
def test_series_in_texts_are_the_same_steps(cell, files, tmp_path):
    (tmp_path / "steps.csv").write_text("time\n1\n2.5\n")
    value = FileResolver(tmp_path, allow_outside=False).parse_series(cell)
    steps = Steps(4)
    steps.fit(Column("series", [value]), np.arange(1))
    assert_same_parts(script.decode_series(cell, as_json(steps.state()), files), steps.decode(value))


@pytest.mark.parametrize("height", ["180", " 1.8e2 ", "NA", None, "inf", 180, True, "?"])
@pytest.mark.parametrize("colour", ["red", " red", "7.0", None, "unknown", 7, True])
def test_cells_are_the_same_numbers_and_categories(height, colour):
    cells = Cells()
    rows = [{"height": 150 + i, "same": 3, "colour": ("red", "7", "true")[i % 3]} for i in range(9)]
    cells.fit(Column("tabular", rows), np.arange(9))
    row = {"height": height, "same": "4", "colour": colour}
    assert_same_parts(script.decode_cells(row, as_json(cells.state())), cells.decode(row))


@pytest.mark.parametrize("options", TRANSFORMS)
@pytest.mark.parametrize("height", ["151", "NA", None, "1e9", "-12"])
@pytest.mark.parametrize("colour", ["red", None, "unknown", "rare"])
def test_transformed_cells_are_the_same_numbers_and_categories(options, height, colour):
    cells = Cells(**options)
    rows = [{"height": i**3, "same": 3, "colour": ("red", "7", "true")[i % 3]} for i in range(20)]
    rows[0]["colour"] = "rare"
    cells.fit(Column("tabular", rows), np.arange(20))
    row = {"height": height, "same": "4", "colour": colour}
    assert_same_parts(script.decode_cells(row, as_json(cells.state())), cells.decode(row))


def test_a_word_in_a_column_of_numbers_is_refused():
    with pytest.raises(script.BadRowError, match="'height' is 'tall', but it is a number in all training rows"):
        script.read_number("height", "tall")
    with pytest.raises(script.BadRowError):
        script.read_number("height", "2024_01")
    assert as_number("2024_01") is None


def test_files_outside_the_folder_are_refused(files, tmp_path):
    with pytest.raises(script.BadRowError, match=r"'\.\./a\.png' lies outside"):
        files.find("../a.png")
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    with pytest.raises(script.BadRowError, match=r"'link\.png' lies outside"):
        files.find("link.png")


TABLES = {
    "plain.csv": b"a,b\n1,x\n2,\n",
    "semicolons.csv": b"a;b\n1;x, y\n2;  \n",
    "quotes.csv": b'a, b\n1, "x\ny"\n\n2,"a ""b"""\n',
    "mark.csv": "\ufeffä,b\n1,é\n".encode(),
    "utf16.csv": "a,b\n1,é\n2,z\n".encode("utf-16"),
    "utf16_without_mark.csv": "alpha,beta\n1,two\n2,three\n".encode("utf-16-le"),
    "excel.csv": b"sep=;\r\na;b\r\n1;x\r\n",
    "separators.csv": "a,b\n1,x\u2028y\n2,v\x0bw\n3,\x85\n4,\x1c\n".encode(),
    "one_separator.csv": "a,b\n1,x\u2028y\n".encode(),
    "returns.csv": b"a,b\r1,x\r2,y\r",
    "tabs.tsv": b"a\tb\n1\tx,y\n",
    "array.json": b'[{"a": {"b": 1, "c": {}}, "d": "x"},\n {"a": {"b": null}}]',
    "lines.jsonl": b'{"a": 1, "b": "x"}\n\n{"a": null, "b": ["p", 2]}\n{"a": NaN, "b": ""}\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_the_same_cells_and_places(name, tmp_path):
    (tmp_path / name).write_bytes(TABLES[name])
    sheet = read_sheet(tmp_path / name)
    rows = list(script.read_rows(tmp_path / name))
    assert [row.place for row in rows] == list(sheet.locate_rows())
    for column, cells in sheet.columns.items():
        assert [row.cells.get(column) for row in rows] == list(cells)


def test_other_encodings_are_those_of_the_training_data(tmp_path):
    (tmp_path / "latin.csv").write_bytes("a,b\n1,é\n".encode("cp1252"))
    assert next(script.read_rows(tmp_path / "latin.csv", "cp1252")).cells == {"a": "1", "b": "é"}


@pytest.mark.parametrize("cell", ["=1+1", "-5", "-a", "plain", "\uff1dx", "", "@x", "+1e3"])
def test_formulas_are_escaped_alike(cell):
    assert script.format_cell(cell) == escape_formula(cell)


@pytest.mark.parametrize("cell", [None, True, 7, 7.0, "7.00", " x ", "e\u0301"])
def test_categories_are_spelled_alike(cell):
    assert script.normalize_category(cell) == ("" if cell is None else normalize_name(cell))
