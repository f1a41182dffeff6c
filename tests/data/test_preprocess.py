import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from mmrun.data.preprocess.audio import Waveform
from mmrun.data.preprocess.image import Pixels
from mmrun.data.preprocess.series import Steps
from mmrun.data.preprocess.tabular import Cells, describe_extremes
from mmrun.data.preprocess.text import Tokens
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError

TEXTS = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog", None]


def fitted(preprocessor, kind, values):
    preprocessor.fit(Column(kind, values), np.arange(len(values)))
    return preprocessor


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


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_audio_of_every_format(media, suffix):
    decoded = Waveform(8000, 1.0).decode(media / f"tone.{suffix}")
    assert (decoded["waveform"].dtype, decoded["waveform"].shape) == (np.int16, (8000,))
    assert decoded["length"] == 8000
    spectrum = np.abs(np.fft.rfft(decoded["waveform"][2000:6000].astype(float)))
    assert spectrum.argmax() * 2 == 440
    assert abs(np.abs(decoded["waveform"].astype(int)).max() - 16384) < 1600  # of a half; MP3 rings at the ends


def test_audio_is_cut_padded_mixed_and_resampled(media):
    short = Waveform(8000, 1.5).decode(media / "tone.wav")
    assert short["length"] == 8000
    assert (short["waveform"][8000:] == 0).all()
    assert Waveform(8000, 0.25).decode(media / "tone.wav")["length"] == 2000
    mixed = Waveform(8000, 1.0).decode(media / "stereo.wav")["waveform"].astype(int)
    assert abs(mixed.max() - 8192) < 3
    faster = Waveform(16000, 1.0).decode(media / "tone.wav")
    assert faster["length"] == 16000
    assert np.abs(np.fft.rfft(faster["waveform"].astype(float))).argmax() == 440


def test_sixteen_bit_samples_are_unchanged(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32768, 500).astype(np.int16)
    soundfile.write(tmp_path / "exact.wav", samples, 8000)
    waveform = Waveform(8000, 0.0625)
    assert waveform.metadata == {"sample_rate": 8000, "num_samples": 500}
    assert (waveform.decode(tmp_path / "exact.wav")["waveform"] == samples).all()
    assert (waveform.decode((samples, 8000))["waveform"] == samples).all()
    assert (waveform.decode((samples / 32768, 8000))["waveform"] == samples).all()


def test_damaged_and_empty_audio(media):
    with pytest.raises(DataError) as error:
        Waveform(8000, 1.0).decode(media / "note.txt")
    assert str(error.value) == "note.txt is damaged or not an audio file (LibsndfileError)"
    soundfile.write(media / "silent.wav", np.zeros(0), 8000)
    with pytest.raises(DataError) as error:
        Waveform(8000, 1.0).decode(media / "silent.wav")
    assert str(error.value) == "silent.wav contains no audio (0 samples)"


def test_subwords_are_trained_on_the_training_rows():
    tokens = fitted(Tokens(vocab_size=60, max_tokens=12), "text", TEXTS)
    decoded = tokens.decode("The CAT sat")
    assert (decoded["ids"].dtype, decoded["ids"].shape) == (np.int32, (12,))
    assert decoded["ids"][0] == 2  # [CLS]
    length = int(decoded["mask"].sum())
    assert decoded["ids"][length - 1] == 3  # [SEP]
    assert (decoded["ids"][length:] == 0).all()
    assert (decoded["ids"] == tokens.decode("the cat sat")["ids"]).all()
    assert 1 in tokens.decode("ж")["ids"]  # [UNK]
    assert tokens.metadata["pad_id"] == 0
    assert tokens.metadata["mask_id"] == 4
    assert tokens.metadata["max_tokens"] == 12
    assert 30 < tokens.metadata["vocab_size"] <= 60
    assert tokens.decode("the " * 50)["ids"][-1] == 3
    assert tokens.decode("the " * 50)["mask"].all()


TRAIN = """
import json, numpy as np
from mmrun.data.preprocess.text import Tokens
from mmrun.data.table import Column
words = [f"{a}{b}{c} {c}{a}." for a in "abcde" for b in "fghij" for c in "klmno"]
tokens = Tokens(100, 8)
tokens.fit(Column("text", words), np.arange(len(words)))
print(json.dumps(tokens.state()))
"""


def test_the_vocabulary_is_the_same_in_every_process():
    runs = [subprocess.Popen([sys.executable, "-c", TRAIN], stdout=subprocess.PIPE) for _ in range(4)]
    states = {run.communicate()[0] for run in runs}
    assert len(states) == 1
    assert json.loads(states.pop())["vocab_size"] == 100


def test_a_text_file(media):
    tokens = fitted(Tokens(60, 12), "text", [media / "note.txt", "Grüß Dich"])
    assert (tokens.decode(media / "note.txt")["ids"] == tokens.decode("GRÜß DICH")["ids"]).all()
    (media / "latin.txt").write_bytes("grüß".encode("latin-1"))
    with pytest.raises(DataError) as error:
        tokens.decode(media / "latin.txt")
    assert str(error.value) == "latin.txt is not UTF-8 text (byte 2)"


def test_a_pretrained_tokenizer(tmp_path):
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    trained = fitted(Tokens(60, 12), "text", TEXTS)
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(trained.state()["tokenizer"]), pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(tmp_path)
    pretrained = fitted(Tokens(max_tokens=6, tokenizer=str(tmp_path)), "text", TEXTS)
    assert pretrained.metadata["max_tokens"] == 6
    assert pretrained.metadata["pad_id"] == 0
    assert pretrained.metadata["mask_id"] == 1  # it has no mask token: that of [UNK]
    assert pretrained.decode("the cat")["ids"].tolist()[:3] == trained.decode("the cat")["ids"].tolist()[:3]


def test_a_missing_tokenizer():
    with pytest.raises(ConfigError) as error:
        fitted(Tokens(tokenizer="/no/such/folder"), "text", TEXTS)
    assert str(error.value) == (
        "the tokenizer's files of /no/such/folder are not cached and the hub cannot be reached; "
        "set preprocess.tokenizer to a folder that holds tokenizer.json, or to null to train one"
    )


def test_cells_are_standardised_by_training_rows():
    rows = [
        {"age": "20", "town": "Rome", "same": 7},
        {"age": "40", "town": "Oslo", "same": 7},
        {"age": "NA", "town": None, "same": 7},
        {"age": 1000, "town": "Bonn", "same": 8},
    ]
    cells = Cells()
    cells.fit(Column("tabular", rows), np.array([0, 1, 2]))
    assert cells.metadata == {"num_numeric": 2, "cardinalities": [4]}  # Oslo, Rome, missing, unknown
    first, gap, unseen = cells.decode(rows[0]), cells.decode(rows[2]), cells.decode(rows[3])
    assert first["numeric"].tolist() == [-1.0, 0.0]
    assert first["categorical"].tolist() == [3]
    assert gap["numeric"].tolist() == [0.0, 0.0]
    assert gap["missing"].tolist() == [True, False]
    assert gap["categorical"].tolist() == [1]
    assert unseen["numeric"].tolist() == [97.0, 0.0]  # a column that is constant in training says nothing
    assert unseen["categorical"].tolist() == [0]


def test_a_constant_column_does_not_explode_at_test_time():
    rows = [{"x": 0.1}] * 320 + [{"x": 0.2}]
    cells = Cells()
    cells.fit(Column("tabular", rows), np.arange(320))
    assert cells.decode(rows[-1])["numeric"].tolist() == [0.0]
    series = [np.full((1, 5), 0.1)] * 320 + [np.full((1, 5), 0.2)]
    steps = Steps(5)
    steps.fit(Column("series", series), np.arange(320))
    assert steps.decode(series[-1])["values"].tolist() == [[0.0] * 5]


def test_a_small_deviation_from_a_large_mean_is_kept():
    seconds = 1_700_000_000.0 + np.arange(0.0, 3600.0, 60.0)  # an hour of timestamps
    cells = fitted(Cells(), "tabular", [{"time": second} for second in seconds.tolist()])
    np.testing.assert_allclose(cells.decode({"time": seconds[-1]})["numeric"], [1.7034], atol=1e-3)
    steps = fitted(Steps(60), "series", [seconds])
    np.testing.assert_allclose(steps.decode(seconds)["values"].std(), 1, atol=1e-3)


def test_a_number_that_float32_cannot_hold():
    cells = fitted(Cells(), "tabular", [{"age": "20"}, {"age": "30"}])
    with pytest.raises(DataError) as error:
        cells.decode({"age": "1e300"})
    assert str(error.value) == (
        "'age' is 1e+300, but 25 on average in the training rows; correct it, or empty the cell"
    )


def test_suspicious_cells_are_noted():
    ages = [20, 30, 40, 50, 60] * 20
    rows = [{"age": str(age), "town": "Rome" if age < 40 else "rome "} for age in ages]
    rows[7]["age"] = "9999999"
    rows += [{"age": "inf", "town": "Bonn"}, {"age": "-999", "town": None}]
    cells = Cells()
    cells.fit(Column("tabular", rows), np.arange(100))
    assert cells.notes == [
        "column 'age': 1 of 100 numbers of training rows, such as 9999999, are far from most (20 to 60); "
        "if they mark missing values, empty those cells",
        "column 'age': 1 of 1 numbers of other rows, such as -999, are far from most (20 to 60); "
        "if they mark missing values, empty those cells",
        "column 'age': 1 cells are infinite, and read as missing",
        "column 'town': 2 of 2 other rows have a category that no training row has, the first is 'Bonn'; "
        "they are read as unknown (1 of them are empty)",
        "column 'town': the categories 'Rome' and 'rome' are nearly equal; if they are one, spell them alike",
    ]


def test_new_rows_with_unknown_categories_are_noted():
    cells = fitted(Cells(), "tabular", [{"town": "Rome"}, {"town": "Oslo"}])
    new = Column("tabular", [{"town": "Rome "}, {"town": "Bonn"}])
    assert cells.notes == []
    assert cells.describe_new(new) == [
        "column 'town': 1 of 2 rows have a category that no training row has, the first is 'Bonn'; "
        "they are read as unknown"
    ]


@pytest.mark.parametrize("draw", ["normal", "exponential", "standard_t", "poisson"])
def test_usual_numbers_are_not_extreme(draw):
    rng = np.random.default_rng(0)
    numbers = {
        "normal": rng.normal(50, 10, 2000),
        "exponential": rng.exponential(1.0, 2000),
        "standard_t": rng.standard_t(4, 2000),
        "poisson": rng.poisson(0.05, 2000).astype(float),
    }[draw]
    assert describe_extremes("x", numbers[:1500], numbers[1500:]) == []


def test_codes_can_be_categories():
    rows = [{"zip": 10115}, {"zip": 20095}]
    cells = fitted(Cells(categorical=["zip"]), "tabular", rows)
    assert cells.metadata == {"num_numeric": 0, "cardinalities": [3]}
    assert cells.decode(rows[1])["categorical"].tolist() == [2]


@pytest.mark.parametrize("cell", ["old", ["a", "list"]])
def test_a_word_among_numbers(cell):
    cells = fitted(Cells(), "tabular", [{"age": "20"}, {"age": "30"}])
    with pytest.raises(DataError) as error:
        cells.decode({"age": cell})
    assert str(error.value) == f"'age' is {cell!r}, but it is a number in all training rows"


def test_series_are_standardised_cut_and_padded(media):
    steps = fitted(Steps(10), "series", [media / "ramp.npy", None])
    decoded = steps.decode(media / "ramp.npy")
    assert steps.metadata == {"in_channels": 2, "num_steps": 10}
    np.testing.assert_allclose(decoded["values"].mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(decoded["values"].std(1), 1, atol=1e-6)
    short = steps.decode(np.array([[4.5, np.nan], [9.0, 9.0]]))
    assert (short["values"] == 0).all()  # the mean, and a gap
    assert short["mask"].tolist() == [True, True, *[False] * 8]
    assert fitted(Steps(3), "series", [[1, 2, 3, 400]]).decode([1, 2, 3, 400])["mask"].all()


def test_a_constant_channel_is_safe():
    steps = fitted(Steps(3), "series", [[0.1, 0.1, 0.1]])
    assert np.abs(steps.decode([0.1, 0.1, 0.1])["values"]).max() < 1e-6


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1, 2], [3, 4]], "a series with 2 channels, but the training rows have 1"),
        ([[1, 2], [3]], "the series is damaged or not a numeric array (ValueError)"),
        ([], "the series is float64 [0], but must be numbers [channels, steps] or [steps]"),
        (["a"], "the series is <U1 [1], but must be numbers [channels, steps] or [steps]"),
    ],
)
def test_unusable_series(value, message):
    steps = fitted(Steps(4), "series", [[1, 2, 3]])
    with pytest.raises(DataError) as error:
        steps.decode(value)
    assert str(error.value) == message


def test_no_pickle_is_ever_opened(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError) as error:
        fitted(Steps(4), "series", [[1, 2, 3]]).decode(tmp_path / "objects.npy")
    assert str(error.value) == "objects.npy is damaged or not a numeric array (ValueError)"


@pytest.mark.parametrize(
    ("preprocessor", "blank", "kind", "values"),
    [
        (Pixels(8), Pixels(1), "image", [np.zeros((3, 8, 8), dtype=np.uint8)]),
        (Tokens(60, 12), Tokens(), "text", TEXTS),
        (Waveform(8000, 0.1), Waveform(1, 1), "audio", [(np.ones(300, dtype=np.int16), 8000)]),
        (Cells(), Cells(), "tabular", [{"x": 1.0, "c": "a"}, {"x": 4.0, "c": "b"}]),
        (Steps(4), Steps(1), "series", [[1, 5, 3]]),
    ],
)
def test_a_restored_preprocessor_decodes_the_same(preprocessor, blank, kind, values):
    fitted(preprocessor, kind, values)
    blank.restore(json.loads(json.dumps(preprocessor.state())))
    assert blank.metadata == preprocessor.metadata
    assert blank.state() == preprocessor.state()
    for name, array in preprocessor.decode(values[0]).items():
        assert (blank.decode(values[0])[name] == array).all()
