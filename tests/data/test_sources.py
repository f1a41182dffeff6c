import numpy as np
import pytest

from mmrun.compose import list_options, load_option
from mmrun.config import LABELS
from mmrun.data.infer import KINDS
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.sources.digits import digits
from mmrun.data.sources.synthetic import expected_accuracy, synthetic
from mmrun.data.table import SPLITS, Table
from mmrun.errors import ConfigError, DataError
from mmrun.instantiate import instantiate
from mmrun.types import KINDS as ALL_KINDS

DATASETS = list_options("dataset")


def open_option(name: str, tmp_path) -> Table:
    node = load_option("dataset", name)
    if name == "manifest":
        path = tmp_path / "my.csv"
        path.write_text("age,label\n" + "".join(f"{row},{row % 2}\n" for row in range(30)))
        node["path"] = str(path)
    try:
        return instantiate(node, "dataset", drop=LABELS)
    except DataError as error:
        if name == "avdigits":
            pytest.skip(str(error))
        raise


def test_all_data_sets_are_found():
    assert {"avdigits", "digits", "manifest", "synthetic"} <= set(DATASETS)


@pytest.mark.parametrize("name", DATASETS)
def test_contract(name, tmp_path):
    table = open_option(name, tmp_path)
    num_rows = len(table.ids)
    assert len(set(table.ids)) == num_rows
    assert set(table.split) == set(SPLITS)
    assert len(table.split) == num_rows
    for column in table.columns.values():
        assert column.kind in ALL_KINDS
        assert len(column.values) == num_rows
    for target in table.targets.values():
        assert len(target.values) == num_rows
        assert target.task in ("classification", "multilabel", "regression")
    node = load_option("dataset", name)
    assert node["labelled"] == 1.0
    if name != "manifest":
        assert node["kinds"] == {modality: column.kind for modality, column in table.columns.items()}
    again = open_option(name, tmp_path)
    assert again.fingerprint == table.fingerprint
    assert (again.split == table.split).all()


def test_the_kinds_are_those_of_the_contract():
    assert KINDS == ALL_KINDS


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


def test_expected_accuracy_in_closed_form():
    shares = {"redundancy": 0.2, "uniqueness": 0.4, "synergy": 0.4}
    assert expected_accuracy(set(), **shares) == 0.5
    assert expected_accuracy({"a"}, **shares) == pytest.approx(0.5 + 0.5 * (0.2 + 0.2))
    assert expected_accuracy({"a", "b"}, **shares) == pytest.approx(1.0)
    assert expected_accuracy({"a", "b"}, **shares, noise=0.1) == pytest.approx(0.9)
    assert expected_accuracy({"a", "b"}, **shares, num_modalities=3) == pytest.approx(0.5 + 0.5 * (0.2 + 0.8 / 3))


def test_synthetic_rows_have_the_expected_accuracy():
    shares = {"redundancy": 0.3, "uniqueness": 0.3, "synergy": 0.4}
    table = synthetic(num_rows=20000, **shares, num_modalities=3, num_features=2, noise=0.1)
    labels = table.targets["label"].values * 2 - 1
    rows = {name: column.values for name, column in table.columns.items()}
    signs = {name: np.sign([row["signal"] for row in cells]) for name, cells in rows.items()}
    is_on = {name: np.array([row[name] for row in rows["a"]]) == 1 for name in rows["a"][0]}
    assert np.mean(signs["b"][is_on["redundant"]] == labels[is_on["redundant"]]) == pytest.approx(0.9, abs=0.02)
    assert np.mean(signs["b"][is_on["unique_b"]] == labels[is_on["unique_b"]]) == pytest.approx(0.9, abs=0.02)
    assert np.mean(signs["b"][is_on["unique_a"]] == labels[is_on["unique_a"]]) == pytest.approx(0.5, abs=0.04)
    together = signs["a"] * signs["b"] * signs["c"]
    assert np.mean(together[is_on["synergy"]] == labels[is_on["synergy"]]) == pytest.approx(0.9, abs=0.02)
    pair = (signs["a"] * signs["b"])[is_on["synergy"]]
    assert np.mean(pair == labels[is_on["synergy"]]) == pytest.approx(0.5, abs=0.04)
    shares_seen = [is_on[name].mean() for name in ("redundant", "unique_a", "unique_b", "unique_c", "synergy")]
    np.testing.assert_allclose(shares_seen, [0.3, 0.1, 0.1, 0.1, 0.4], atol=0.015)


def test_pure_synergy_is_exclusive_or():
    table = synthetic(num_rows=100, redundancy=0, uniqueness=0, synergy=1)
    a, b = (np.array([row["signal"] for row in table.columns[name].values]) for name in ("a", "b"))
    assert ((a * b > 0) == (table.targets["label"].values == 1)).all()
    assert np.abs(a).min() >= 0.5
    cells = Cells()
    cells.fit(table.columns["a"], table.rows("train"))
    assert cells.metadata == {"num_numeric": 12, "cardinalities": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"redundancy": 0.5, "uniqueness": 0.5, "synergy": 0.5},
            "dataset: redundancy=0.5, uniqueness=0.5, synergy=0.5; they must be shares that sum to 1",
        ),
        ({"num_modalities": 0}, "dataset.num_modalities: 0; it must lie between 1 and 26"),
        ({"noise": 0.7}, "dataset.noise: 0.7; it must lie between 0 and 0.5"),
        (
            {"num_modalities": 3, "kinds": {"a": "tabular", "b": "tabular"}},
            "dataset.kinds: {'a': 'tabular', 'b': 'tabular'}, but num_modalities=3 makes "
            "{a: tabular, b: tabular, c: tabular}; set it to that",
        ),
    ],
)
def test_synthetic_rejects_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError) as error:
        synthetic(**arguments)
    assert str(error.value) == message
