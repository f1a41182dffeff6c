"""What pictures are compared with."""

import pytest
import torch

from mmrun.deploy.explain.baselines import IMAGE_BASELINES
from mmrun.deploy.explain.explainer import METHODS, Explainer
from mmrun.deploy.explain.target import parse_target
from tests.deploy.explain.toy import take, train_on


def test_baselines_of_pictures():
    pictures = torch.arange(64.0).view(1, 1, 8, 8)
    assert IMAGE_BASELINES["mean"].make(pictures).unique().tolist() == [31.5]
    assert IMAGE_BASELINES["black"].make(pictures).unique().tolist() == [0.0]
    blurred = IMAGE_BASELINES["blurred"].make(pictures)
    assert blurred[0, 0, 0, 0] == 4.5  # the mean of the four pixels of its corner
    assert blurred.mean() == 31.5


@pytest.mark.parametrize("method", METHODS)
def test_pixels_are_compared_with_the_baseline_that_is_named(method):
    predictor, rows, _ = train_on("photo")
    scores = {}
    for name in IMAGE_BASELINES:
        explainer = Explainer(predictor, parse_target(predictor.tasks, "label=yes"), method, name)
        scores[name] = explainer.explain(take(rows, [1])).saliency[0]["photo"].baseline_score
    assert scores["black"] < 0.1 < scores["mean"]
    assert explainer.describe_baseline("image") == "the picture without its details"
    assert explainer.describe_baseline("text") == "padding"
