import numpy as np
import pytest

from mmrun.data.sources.digits import _load_digits, digits
from mmrun.data.table import SPLITS
from mmrun.errors import ConfigError


def test_digits_are_the_same_every_time():
    first, second, different = digits(), digits(), digits(data_seed=1)
    assert len(first.ids) == 1797
    assert [len(first.rows(name)) for name in SPLITS] == [1437, 180, 180]
    assert first.columns["text"].values[:4] == ["sechs", "wno", "neux", "sept"]
    for row in (0, 1796):
        assert (first.columns["image"].values[row] == second.columns["image"].values[row]).all()
        assert (first.columns["audio"].values[row][0] == second.columns["audio"].values[row][0]).all()
    assert first.columns["text"].values != different.columns["text"].values
    assert first.fingerprint == second.fingerprint != different.fingerprint


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    pictures, classes = _load_digits()
    expected = load_digits()
    assert np.array_equal(pictures, expected.images)
    assert np.array_equal(classes, expected.target)


def test_digits_without_noise_are_recognizable():
    table = digits(
        image_noise=0, image_occlusion=0, audio_snr=60, audio_spread=0, text_wrong=0, text_typos=0, languages=["en"]
    )
    row = int(np.flatnonzero(table.targets["label"].values == 7)[0])
    assert table.columns["text"].values[row] == "seven"
    samples, rate = table.columns["audio"].values[row]
    assert (samples.dtype, samples.shape, rate) == (np.int16, (4000,), 8000)
    loudest = np.argsort(np.abs(np.fft.rfft(samples)))[-2:] * rate / 4000
    assert sorted(loudest) == [852, 1210]  # the telephone's 7, to the spectrum's 2 Hz
    image = table.columns["image"].values[row]
    assert (image.dtype, image.shape) == (np.uint8, (1, 32, 32))


def test_each_argument_of_digits_degrades_one_modality():
    plain = digits()
    for argument, modality in (("image_noise", "image"), ("audio_snr", "audio"), ("text_wrong", "text")):
        degraded = digits(**{argument: 0.9})
        same = {
            name: all(
                np.array_equal(a[0], b[0]) if name == "audio" else np.array_equal(a, b)
                for a, b in zip(plain.columns[name].values[:50], degraded.columns[name].values[:50], strict=True)
            )
            for name in plain.columns
        }
        assert [name for name, unchanged in same.items() if not unchanged] == [modality]


def test_no_single_modality_of_digits_suffices():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    table = digits()
    labels, train = table.targets["label"].values, table.rows("train")
    held_out = np.setdiff1d(np.arange(len(labels)), train)
    pixels = np.stack(table.columns["image"].values).reshape(-1, 8, 4, 8, 4).mean((2, 4)).reshape(len(labels), -1)
    sounds = np.stack([samples for samples, _ in table.columns["audio"].values]).reshape(len(labels), 10, 400)
    tones = np.log(np.abs(np.fft.rfft(sounds * np.hanning(400))) ** 2 + 1).mean(1)
    words = CountVectorizer(analyzer="char_wb", ngram_range=(1, 3)).fit_transform(table.columns["text"].values)
    accuracies, scores = {}, np.zeros(())
    for name, features, strength in (
        ("image", pixels / 255, 1.0),
        ("audio", (tones - tones.mean(0)) / tones.std(0), 0.01),
        ("text", words.toarray(), 1.0),
    ):
        probe = LogisticRegression(C=strength, max_iter=1000).fit(features[train], labels[train])
        accuracies[name] = probe.score(features[held_out], labels[held_out])
        scores = scores + probe.predict_log_proba(features[held_out])
    assert all(0.6 < accuracy < 0.86 for accuracy in accuracies.values()), accuracies
    assert np.mean(scores.argmax(1) == labels[held_out]) > max(accuracies.values()) + 0.08


def test_digits_rejects_wrong_shares_and_languages():
    with pytest.raises(ConfigError) as error:
        digits(image_occlusion=1.5)
    assert str(error.value) == "dataset.image_occlusion: 1.5 is not a share; it must lie between 0 and 1"
    with pytest.raises(ConfigError) as error:
        digits(languages=["en", "la"])
    assert str(error.value) == "dataset.languages: ['en', 'la']; choose at least one of de, en, es, fr, it"


def test_digits_rejects_other_kinds():
    with pytest.raises(ConfigError) as error:
        digits(kinds={"image": "image"})
    assert str(error.value) == (
        "dataset.kinds: digits has {'image': 'image', 'audio': 'audio', 'text': 'text'}, found {'image': 'image'}; "
        "leave modalities out with modalities=[...]"
    )
