"""Averages of weights."""

import torch
from safetensors.torch import load_file

from mmrun.evaluation.soup import average_weights
from mmrun.results.folder import RunFolder


def test_a_soup_of_one_start_is_the_mean_of_its_weights(shell):
    one = shell.train("strategy=scratch")
    two = shell.train("strategy=scratch", "optimizer.lr=2e-3")
    weights = [load_file(run / "checkpoints/train/best/model.safetensors") for run in (one, two)]
    mean = average_weights([RunFolder(one), RunFolder(two)])
    assert torch.allclose(
        mean["head.label.weight"], (weights[0]["head.label.weight"] + weights[1]["head.label.weight"]) / 2
    )
