"""A compressed model is rebuilt from the shapes in its folder, which may come from a stranger."""

import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.compress.structure import apply_structure, build_factors, drop_children, resize

NOTHING = {"drops": [], "heads": {}, "ranks": {}, "sizes": {}, "dims": {}}


def build():
    layer = nn.TransformerEncoderLayer(8, 4, 16, batch_first=True)
    return nn.ModuleDict({"blocks": nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6)), "layer": layer})


def test_blocks_are_numbered_anew():
    blocks = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3), nn.Linear(2, 4))
    drop_children(blocks, ["1"])
    assert [name for name, _ in blocks.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert blocks[1].out_features == 4


def test_layers_become_narrower():
    convolution, depthwise, norm = nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8)
    resize(convolution, [2, 5], "a")
    resize(depthwise, [5, 5], "b")
    resize(norm, [5, 5], "c")
    with torch.no_grad():
        assert norm(depthwise(convolution(torch.ones(1, 2, 7, 7)))).shape == (1, 5, 3, 3)


def test_what_a_layer_stands_for_can_be_read():
    factors = build_factors(nn.Conv2d(3, 5, (2, 3)), 2)
    assert factors.weight.shape == (5, 3, 2, 3)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(factors(x), nn.functional.conv2d(x, factors.weight, factors.bias))


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({"sizes": {"blocks.0": [4, 1_000_000_000]}}, "blocks.0: cannot have 4 -> 1000000000 channels"),
        ({"sizes": {"blocks.0": [4, 0]}}, "blocks.0: cannot have 4 -> 0 channels"),
        ({"sizes": {"blocks.0": [4]}}, "blocks.0: cannot have 4 channels"),
        ({"sizes": {"blocks.1": [1, 1]}}, "blocks.1: cannot have 1 -> 1 channels"),
        ({"sizes": {"no": [1, 1]}}, "the model has no part 'no'"),
        ({"sizes": {"blocks.0": [4, 2.5]}}, "blocks.0: cannot have 4 -> 2.5 channels"),
        ({"ranks": {"blocks.0": 5}}, "blocks.0: cannot have rank 5"),
        ({"ranks": {"blocks": 1}}, "blocks: cannot have rank 1"),
        ({"heads": {"layer.self_attn": 5}}, "layer.self_attn: cannot have 5 attention heads"),
        ({"heads": {"layer": 1}}, "layer: cannot have 1 attention heads"),
        ({"dims": {"layer": 4}}, "layer: cannot have features of width 4"),
        ({"int8": {"mode": "static", "scheme": "symmetric", "layers": ["blocks.1"]}}, "blocks.1: cannot compute in 8"),
        ({"int8": {"mode": "dynamic", "scheme": "symmetric", "layers": ["no"]}}, "the model has no part 'no'"),
        ({"drops": [{"container": "blocks", "children": ["0", "1", "2"]}]}, "blocks 0, 1, 2 cannot be dropped"),
        ({"drops": [{"container": "layer", "children": ["linear1"]}]}, "blocks linear1 cannot be dropped"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(structure, message):
    with pytest.raises(ConfigError, match=message):
        apply_structure(build(), {**NOTHING, **structure})
