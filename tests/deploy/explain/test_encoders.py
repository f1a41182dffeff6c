"""Every encoder can be explained: its integrated gradients add up to the change of a score, or it is occluded."""

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map

from mmrun.deploy.explain.gradients import integrate_gradients
from mmrun.deploy.explain.occlusion import occlude, open_cover
from mmrun.deploy.explain.paths import open_path
from mmrun.testing.encoders import take_rows
from mmrun.testing.examples import encoder_input
from tests.models.conftest import tiny as tiny
from tests.models.encoders.test_contract import CASES, kind_of
from tests.models.encoders.test_contract import build as build

OCCLUDED = (
    *("audio/hf", "audio/hf:hubert", "audio/wavenet", "audio/wavenet:cycles"),
    *("tabular/ica", "tabular/pca", "text/bow"),
    *(case for case in CASES if case.startswith("points/")),
)
PAD_ID = 0


def score(features):
    """A score between 0 and 1 that depends on the whole pooled vector [P, D]."""
    return (features.pooled * torch.linspace(-1, 1, features.pooled.shape[1])).mean(1).sigmoid()


def build_case(case, build):
    x = take_rows(encoder_input(kind_of(case)), [0])
    words = torch.where(x["mask"][0], torch.arange(12), -1) if kind_of(case) == "text" else torch.zeros(0).long()
    return build(case), x, words


@pytest.mark.parametrize("case", CASES)
def test_integrated_gradients_add_up(case, build):
    encoder, x, words = build_case(case, build)
    path = open_path(encoder, kind_of(case), x, words >= 0, PAD_ID)
    attribution = None if path is None else integrate_gradients(path, score)
    assert (attribution is None) == (case in OCCLUDED)
    if attribution is not None:
        with torch.no_grad():
            whole = score(encoder(x)).item()
        change = whole - attribution.baseline_score
        assert abs(attribution.values.sum() - change) <= max(0.05 * abs(change), 0.01 * whole)
        assert attribution.values.any() == (abs(change) > 1e-6)


@pytest.mark.parametrize("case", CASES)
def test_occlusion_covers_each_part(case, build):
    encoder, x, words = build_case(case, build)
    kept = tree_map(torch.clone, x)
    attribution = occlude(open_cover(kind_of(case), x, words, PAD_ID), lambda variants: score(encoder(variants)))
    shapes = {"image": (8, 8), "text": (12,), "audio": (24,), "tabular": (5,), "series": (24,), "video": (1, 4)}
    shapes["points"] = (8, 8)
    assert attribution.values.shape == shapes[kind_of(case)]
    assert np.isfinite(attribution.values).all()
    assert all(torch.equal(old, new) for old, new in zip(*map(torch.utils._pytree.tree_leaves, (kept, x)), strict=True))
