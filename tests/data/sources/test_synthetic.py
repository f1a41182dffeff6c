import numpy as np
import pytest

from mmrun.data.preprocess.tabular import Cells
from mmrun.data.sources.synthetic import expected_accuracy, synthetic
from mmrun.errors import ConfigError


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
