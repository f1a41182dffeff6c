"""Explanations find what carries the label: a modality, a quadrant, a word, a tone, a column, some steps or a frame."""

import numpy as np
import pytest

from mmrun.deploy.explain.explainer import METHODS
from tests.deploy.explain.toy import KINDS, explain


def find_marked(modality, shape):
    """Return which values show the label, by the place where `toy.make_value` put it."""
    marked = np.zeros(shape, dtype=bool)
    if modality == "photo":
        marked[: shape[0] // 2, shape[1] // 2 :] = True
    elif modality == "note":
        marked[3] = True
    elif modality == "sound":  # a frame is 128 samples, and its window as long on both sides
        begin, end = 1600 / 4000 * shape[-1], 2400 / 4000 * shape[-1]
        marked[..., int(begin) - 1 : int(end) + 2] = True
    elif modality == "facts":
        marked[1] = True
    elif modality == "clip":
        marked[:, shape[1] // 2 : shape[1] * 4 // 6] = True
    else:
        begin, end = 12 / 30 * shape[-1], 18 / 30 * shape[-1]
        marked[..., int(begin) - 1 : int(end) + 1] = True
    return marked


@pytest.mark.parametrize("carrier", KINDS)
def test_the_modality_that_carries_the_label_gets_most_of_the_contributions(carrier):
    explanations, labels = explain(carrier)
    assert (explanations.scores.argmax(1) == labels).all()
    means = {name: np.abs(values).mean() for name, values in explanations.contributions.items()}
    assert means[carrier] / sum(means.values()) >= 0.8


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("carrier", KINDS)
def test_the_part_that_carries_the_label_gets_most_of_the_attribution(carrier, method):
    explanations, _ = explain(carrier, method)
    total = within = 0.0
    for saliency in explanations.saliency:
        values = np.abs(saliency[carrier].values)
        total += values.sum()
        within += values[find_marked(carrier, values.shape)].sum()
    assert saliency[carrier].method == method
    assert within / total >= 0.8
