"""What fusions by attention read, and the names of their parameters."""

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.models.fusions.attention import Attention, Bottleneck, CrossAttention, SelfAttention
from mmrun.models.fusions.conv import Cnn
from mmrun.models.fusions.late import Late
from mmrun.types import Features
from tests.models.fusions.rows import DIMS, YES, select_dims


def test_the_tokens_are_read_and_not_the_pooled_vector():
    tokens = torch.randn(2, 4, 3)
    for fusion in (Attention, SelfAttention, CrossAttention, Bottleneck, Cnn):
        module = fusion({"image": 3}, dim=8)
        with_zeros = module({"image": Features(torch.zeros(2, 3), tokens)}, {"image": YES})
        with_ones = module({"image": Features(torch.ones(2, 3), tokens)}, {"image": YES})
        other_tokens = module({"image": Features(torch.zeros(2, 3), tokens + 1)}, {"image": YES})
        assert torch.equal(with_zeros, with_ones)
        assert not torch.allclose(with_zeros, other_tokens)


def test_parameters_are_named_by_modality():
    names = [name for name, _ in CrossAttention(select_dims("image", "text"), dim=8).named_parameters()]
    assert "project.image.weight" in names
    assert "readers.image.cross.text.blocks.0.attention.query.weight" in names
    names = [name for name, _ in Late(DIMS, num_outputs=2).named_parameters()]
    assert names == ["logits.image.weight", "logits.text.weight", "logits.audio.weight"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SelfAttention(DIMS, dim=10, num_heads=4), "fusion.num_heads: 4 does not divide fusion.dim=10"),
        (
            lambda: Bottleneck(DIMS, num_layers=1),
            "fusion.num_layers: with 1 nothing crosses the bottleneck; set 2 or more",
        ),
    ],
)
def test_errors_name_the_key(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
