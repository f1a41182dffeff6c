"""Graph attention compared with its formula."""

import pytest
import torch
import torch.nn.functional as F

from mmrun.errors import ConfigError
from mmrun.models.fusions.graph import Graph, GraphAttention
from tests.models.fusions.rows import DIMS


def test_graph_attention_node_by_node():
    layer = GraphAttention(dim=6, num_heads=2, dropout=0.0)
    nodes = torch.randn(1, 3, 6)
    edges = torch.tensor([[[True, False, True]] * 3])
    values = layer.value(nodes)[0].view(3, 2, 3)
    expected = torch.zeros(3, 2, 3)
    for i in range(3):
        for head in range(2):
            a = torch.cat([layer.reader[head], layer.read[head]])
            scores = torch.stack([a @ torch.cat([values[i, head], values[j, head]]) for j in (0, 2)])
            weights = F.leaky_relu(scores, 0.2).softmax(0)
            expected[i, head] = weights[0] * values[0, head] + weights[1] * values[2, head]
    torch.testing.assert_close(layer(nodes, edges)[0], nodes[0] + F.elu(expected.flatten(1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Graph(DIMS, dim=10, num_heads=4), "fusion.num_heads: 4 does not divide fusion.dim=10"),
    ],
)
def test_errors_name_the_key(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
