"""Wrong labels: planted ones are found, and nothing is said where the model knows too little."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mmrun.data.checks.labels import Features, find_unlikely_labels
from mmrun.data.table import Column, Table, Target

NAMES = [str(number) for number in range(10)]


def make_table(labels, num_missing=0):
    values = [None] * num_missing + ["x"] * (len(labels) - num_missing)
    split = np.array(["train", "val", "test"])[np.arange(len(labels)) % 3]
    ids = [str(row) for row in range(len(labels))]
    return Table(ids, {"image": Column("image", values)}, {"label": Target("classification", labels, NAMES)}, split, "")


@pytest.fixture(scope="module")
def flipped():
    """All digits of scikit-learn, 5 % of their labels wrong: pixels, labels and which are wrong."""
    pixels, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    is_wrong = np.zeros(len(labels), dtype=bool)
    is_wrong[rng.choice(len(labels), len(labels) // 20, replace=False)] = True
    shifted = (labels + rng.integers(1, 10, len(labels))) % 10
    return pixels.astype(np.float32), np.where(is_wrong, shifted, labels), is_wrong


def test_wrong_labels_of_digits_are_found(flipped):
    """Of 89 wrong labels among 1,797, a random choice of as many would hit 4."""
    pixels, labels, is_wrong = flipped
    notes = []
    features = {"image": Features(np.arange(len(labels)), pixels.__getitem__)}
    [finding] = find_unlikely_labels(make_table(labels), features, notes)
    hits = is_wrong[list(finding.rows)]
    assert len(hits) < 100
    assert hits.mean() > 0.9  # precision; 1.0 was seen
    assert hits.sum() / is_wrong.sum() > 0.65  # recall; 0.73 was seen
    assert finding.where[0].startswith(f"row {finding.rows[0]}: '{labels[finding.rows[0]]}', more likely '")
    assert notes == ["label: labels are judged by a quick model with 91% accuracy on 1,797 rows, by cross-validation"]


def test_wrong_labels_of_label_sets_are_found(flipped):
    """Digits have the labels "even" and "zero", of which 30 rows have "even" the wrong way round."""
    pixels, _, _ = flipped
    digits = load_digits().target
    labels = np.stack([digits % 2 == 0, digits == 0, np.arange(len(digits)) < 5], axis=1).astype(np.float32)
    wrong = np.arange(0, 900, 30)
    labels[wrong, 0] = 1 - labels[wrong, 0]
    target = Target("multilabel", labels, ["even", "zero", "rare"])
    table = replace(make_table(digits), targets={"tags": target})
    notes = []
    [finding] = find_unlikely_labels(table, {"image": Features(np.arange(len(labels)), pixels.__getitem__)}, notes)
    hits = np.isin(finding.rows, wrong)
    assert hits.mean() > 0.5
    assert hits.sum() >= 15
    assert len(set(finding.rows)) == len(finding.rows)
    given = "with" if labels[finding.rows[0], 0] else "without"
    assert finding.where[0] == f"row {finding.rows[0]}: {given} 'even', which is unlikely"
    assert notes == [
        "tags: 2 of 3 labels are judged, each by a quick model on 1,797 rows, by cross-validation; "
        "of the others it knows too little"
    ]


def test_labels_are_not_judged_by_a_model_that_knows_too_little(flipped):
    _, labels, _ = flipped
    noise = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    notes = []
    assert (
        find_unlikely_labels(make_table(labels[:300]), {"image": Features(np.arange(300), noise.__getitem__)}, notes)
        == []
    )
    assert notes[0].startswith("label: labels are not judged: a quick model with ")


def test_rows_without_the_modality_or_a_label_are_not_judged(flipped):
    pixels, labels, _ = flipped
    labels = labels[:500].copy()
    labels[400:] = -100
    notes = []
    features = {"image": Features(np.arange(100, 500), pixels[100:500].__getitem__)}
    findings = find_unlikely_labels(make_table(labels, num_missing=100), features, notes)
    assert all(100 <= row < 400 for finding in findings for row in finding.rows)
    assert "on 300 rows" in notes[0]


def test_so_many_rows_are_judged_at_most(flipped):
    pixels, labels, _ = flipped
    notes = []
    find_unlikely_labels(
        make_table(labels), {"image": Features(np.arange(len(labels)), pixels.__getitem__)}, notes, max_rows=600
    )
    assert "on 600 rows" in notes[0]
