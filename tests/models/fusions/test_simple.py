"""Concat, sum, mean and max compared with their formulas."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmrun.models.fusions.simple import Concat, Max, Mean, Sum
from mmrun.types import Features
from tests.models.fusions.rows import NO, make_rows, select_dims


def test_sum_mean_and_max_of_two_identity_projections():
    features = {"left": Features(torch.tensor([[1.0, -2.0]])), "right": Features(torch.tensor([[3.0, 4.0]]))}
    present = {"left": torch.tensor([True]), "right": torch.tensor([True])}
    for fusion, expected in ((Sum, [[4.0, 4.0]]), (Mean, [[2.0, 2.0]]), (Max, [[3.0, 4.0]])):
        module = fusion({"left": 2, "right": 2}, dim=2)
        for linear in module.project.values():
            nn.init.eye_(linear.weight)
            nn.init.zeros_(linear.bias)
        assert module(features, present).tolist() == expected


@pytest.mark.parametrize("fusion", [Sum, Mean, Max])
def test_with_one_modality_present_only_its_projection_remains(fusion):
    x, features, present = make_rows("image", "text")
    module = fusion(select_dims("image", "text"), dim=5)
    fused = module(features, {**present, "image": NO})
    torch.testing.assert_close(fused, F.relu(module.project["text"](x["text"])))


def test_concat_fills_a_missing_modality_with_zeros():
    x, features, present = make_rows("image", "text")
    module = Concat(select_dims("image", "text"), dim=5)
    side_by_side = torch.cat([x["image"], torch.zeros(2, 2)], dim=1)
    torch.testing.assert_close(module(features, {**present, "text": NO}), F.relu(module.project(side_by_side)))
