"""Attention knows where tokens lie, unless it is told to read them as a set."""

import pytest
import torch
from torch import nn

from mmrun import compose
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.models.fusions.attention import Attention
from mmrun.models.fusions.positions import Positions
from mmrun.types import Features, Fusion

FUSIONS = ["attention", "self_attention", "cross_attention", "bottleneck", "perceiver"]


def build(name: str, **values: object) -> Fusion:
    node = {**compose.load_option("fusion", name), "dim": 32, **values}
    return instantiate(node, "fusion", {"dims": {"image": 16}})


def fuse(fusion: Fusion, tokens: torch.Tensor) -> torch.Tensor:
    present = torch.ones(len(tokens), dtype=torch.bool)
    return fusion({"image": Features(tokens.mean(1), tokens)}, {"image": present})


@pytest.mark.parametrize("name", FUSIONS)
def test_the_quadrant_of_a_marked_token_is_learned(name):
    fusion = build(name)
    head = fusion.head(4)
    optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.003)
    cell = torch.arange(16)  # of a grid of 4 x 4
    row, column = cell // 4, cell % 4
    quadrant = row // 2 * 2 + column // 2
    marked = torch.eye(16)[..., None] * torch.ones(16)  # [16 rows, 16 tokens, 16]: in each row, another token is ones
    for _ in range(400):
        output = head(fuse(fusion, marked))
        if output.argmax(1).equal(quadrant):
            break
        optimizer.zero_grad()
        nn.functional.cross_entropy(output, quadrant).backward()
        optimizer.step()
    assert output.argmax(1).tolist() == quadrant.tolist()


@pytest.mark.parametrize("name", FUSIONS)
def test_without_positions_tokens_are_a_set(name):
    tokens = torch.randn(2, 9, 16)
    with_positions, without = build(name), build(name, positions="none")
    torch.testing.assert_close(fuse(without, tokens.flip(1)), fuse(without, tokens))
    assert not torch.allclose(fuse(with_positions, tokens.flip(1)), fuse(with_positions, tokens), atol=1e-3)


def test_positions_differ_also_in_long_sequences():
    tokens = torch.zeros(1, 2000, 64), torch.ones(1, 2000, dtype=torch.bool)
    vectors = Positions(["audio"], dim=64)({"audio": tokens})["audio"][0][0]
    distances = torch.cdist(vectors, vectors).fill_diagonal_(torch.inf)
    assert distances.min() > 0.1


def test_other_values_are_rejected():
    with pytest.raises(ConfigError) as caught:
        Attention({"image": 3}, positions="rotary")
    assert str(caught.value) == "fusion.positions: 'rotary' is neither learned nor none"
