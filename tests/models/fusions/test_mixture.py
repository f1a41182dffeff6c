"""A mixture of experts compared with its formula."""

import torch
import torch.nn.functional as F
from torch import nn

from mmrun.models.fusions.mixture import MixtureOfExperts
from tests.models.fusions.rows import NO, make_rows, select_dims


def test_a_gate_that_chooses_gives_one_expert():
    x, features, present = make_rows("image", "text")
    module = MixtureOfExperts(select_dims("image", "text"), dim=5, num_experts=3)
    nn.init.zeros_(module.gate.weight)
    module.gate.load_state_dict({"weight": module.gate.weight, "bias": torch.tensor([0.0, 200.0, 0.0])})
    x_and_flags = torch.cat([x["image"], torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])], dim=1)
    torch.testing.assert_close(module(features, {**present, "text": NO}), F.relu(module.experts[1](x_and_flags)))
