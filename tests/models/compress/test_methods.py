"""What each method does, on models that are small enough to count."""

import copy

import pytest
import torch
from torch import nn

from mmrun.models.compress.clusters import share_weights
from mmrun.models.compress.depth import drop_blocks
from mmrun.models.compress.filters import prune_filters
from mmrun.models.compress.heads import prune_heads
from mmrun.models.compress.low_rank import factorize
from mmrun.models.compress.magnitude import find_zeros, prune_weights


def build_chain(weights, other_weights):
    """Build two linear layers with these rows."""
    chain = nn.Sequential(nn.Linear(2, len(weights), bias=False), nn.ReLU(), nn.Linear(len(weights), 2, bias=False))
    with torch.no_grad():
        chain[0].weight.copy_(torch.tensor(weights))
        chain[2].weight.copy_(torch.tensor(other_weights).T)
    return chain


class Residual(nn.Module):
    """x + up(relu(down(x)))."""

    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x):
        return x + self.up(self.down(x).relu())


# ----------------------------------------------------------------------------------------------------------- magnitude


def test_the_smallest_weights_of_all_layers_become_zero():
    chain = build_chain([[1.0, -0.1], [0.2, 3.0]], [[10.0, 9.0], [8.0, 7.0]])
    prune_weights(chain, 0.25)
    assert chain[0].weight.tolist() == [[1.0, 0.0], [0.0, 3.0]]
    assert (chain[2].weight != 0).all()


def test_or_of_each_layer():
    chain = build_chain([[1.0, -0.1], [0.2, 3.0]], [[10.0, 9.0], [8.0, 7.0]])
    prune_weights(chain, 0.25, per_layer=True)
    assert chain[0].weight.count_nonzero() == chain[2].weight.count_nonzero() == 3


def test_biases_norms_and_embeddings_stay():
    model = nn.ModuleDict({"words": nn.Embedding(4, 2), "norm": nn.LayerNorm(8), "linear": nn.Linear(2, 2)})
    prune_weights(model, 0.99)
    assert set(find_zeros(model)) == {"linear.weight"}


# ------------------------------------------------------------------------------------------------------ weight sharing


def test_weights_share_the_centres_of_their_clusters():
    linear = nn.Linear(8, 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 1.2, 1.1, 0.9, 5.0, 5.2, 4.8, 5.0]]))
    assert share_weights(linear, 2) == 1
    torch.testing.assert_close(linear.weight.data, torch.tensor([[1.05] * 4 + [5.0] * 4]))


def test_zeros_stay_zero_when_weights_are_shared():
    linear = nn.Linear(16, 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[0.0] * 8 + [0.1] * 4 + [3.0] * 4]))
    share_weights(linear, 3)
    torch.testing.assert_close(linear.weight.data, torch.tensor([[0.0] * 8 + [0.1] * 4 + [3.0] * 4]))


# ------------------------------------------------------------------------------------------------------------ low rank


def test_a_layer_of_low_rank_is_kept_exactly_by_factors():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(16, 3) @ torch.randn(3, 16))
    x, expected = torch.randn(5, 16), None
    with torch.no_grad():
        expected = model(x)
        assert factorize(model, 0.5) == 1
        assert model[0].rank == 4  # 4 * (16 + 16) is half of 16 * 16
        torch.testing.assert_close(model(x), expected, atol=1e-4, rtol=1e-4)


def test_a_layer_that_factors_would_not_shrink_stays():
    model = nn.Sequential(nn.Linear(1, 4))
    assert factorize(model, 0.5) == 0
    assert type(model[0]) is nn.Linear


# --------------------------------------------------------------------------------------------------------------- depth


def test_every_second_block_goes_and_the_others_keep_their_weights():
    model = nn.Sequential(*(Residual(2) for _ in range(4)))
    kept = [model[0].down.weight.clone(), model[2].down.weight.clone()]
    x = torch.randn(1, 2, 3, 3)
    assert drop_blocks(model, 0.5, lambda: model(x)) == [{"container": "", "children": ["1", "3"]}]
    assert [block.down.weight.equal(weight) for block, weight in zip(model, kept, strict=True)] == [True, True]


def test_single_layers_and_blocks_that_change_the_shape_stay():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)))
    assert drop_blocks(model, 0.9, lambda: model(torch.ones(1, 4))) == []


# ------------------------------------------------------------------------------------------------- filters and heads


def test_the_filters_of_the_smallest_norm_are_removed():
    pytest.importorskip("torch_pruning")
    chain = build_chain([[1.0, 1.0], [0.1, 0.1], [2.0, 2.0], [0.2, 0.0]], [[1.0, 1.0]] * 4)
    x = torch.ones(1, 2)
    assert prune_filters(chain, lambda: [chain(x)], 0.5, {}) == ["0"]
    assert chain[0].weight.tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert chain[2].weight.shape == (2, 2)


def test_or_those_without_which_the_loss_changes_least():
    pytest.importorskip("torch_pruning")
    chain = build_chain([[1.0, 1.0], [0.1, 0.1], [2.0, 2.0], [0.2, 0.0]], [[1.0, 1.0]] * 4)
    gradients = {"0.weight": torch.tensor([[0.0, 0.0], [9.0, 9.0], [0.0, 0.0], [9.0, 9.0]])}
    x = torch.ones(1, 2)
    prune_filters(chain, lambda: [chain(x)], 0.5, gradients)
    torch.testing.assert_close(chain[0].weight.data, torch.tensor([[0.1, 0.1], [0.2, 0.0]]))


def test_channels_that_meet_in_a_sum_go_together():
    pytest.importorskip("torch_pruning")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 1), Residual(8), Residual(8), nn.Flatten(), nn.Linear(8 * 4, 3)).eval()
    x = torch.randn(2, 1, 2, 2)
    prune_filters(model, lambda: [model(x)], 0.5, {})
    widths = [model[0].out_channels, model[1].up.out_channels, model[2].up.out_channels, model[4].in_features]
    assert widths == [4, 4, 4, 16]
    assert [model[1].down.out_channels, model[2].down.out_channels] == [4, 4]


class Mixing(nn.Module):
    """A norm over channels: without one of them, the others change."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(2, 8), nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, x):
        return self.b(self.norm(self.a(x)))


class Reshaping(nn.Module):
    """Code that holds the width of a layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.b(self.a(x).view(-1, 2, 4).flip(1).flatten(1))


@pytest.mark.parametrize("model", [Mixing(), Reshaping()], ids=["norm", "reshape"])
def test_what_cannot_become_narrower_stays_as_it_was(model):
    pytest.importorskip("torch_pruning")
    before, x = copy.deepcopy(model.state_dict()), torch.ones(3, 2)
    assert prune_filters(model.eval(), lambda: [model(x)], 0.5, {}) == []
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_head_that_is_not_read_can_go_without_a_change():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True).eval()
    with torch.no_grad():
        layer.self_attn.out_proj.weight[:, 4:] = 0.0  # of the second head
    x, padding = torch.randn(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    expected = layer(x, src_key_padding_mask=padding)
    assert prune_heads(layer, 0.5, {}) == 1
    assert layer.self_attn.num_heads == 1
    real = ~padding
    with torch.no_grad():  # torch's fused path would be taken here
        torch.testing.assert_close(layer(x, src_key_padding_mask=padding)[real], expected[real])
