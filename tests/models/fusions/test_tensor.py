"""Tensor, low-rank, bilinear and multiplicative fusion compared with their formulas."""

import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.tensor import Bilinear, LowRank, Multiplicative, TensorFusion
from mmrun.types import Features
from tests.models.fusions.rows import DIMS, NO, YES, make_rows, select_dims


def test_the_tensor_of_one_modality_is_one_and_its_vector():
    x, features, present = make_rows("image")
    module = TensorFusion(select_dims("image"), dim=5, width=4)
    vector = torch.tanh(module.project["image"](x["image"]))
    assert torch.equal(module.compute_product(features, present), torch.cat([torch.ones(2, 1), vector], dim=1))


def test_in_the_tensor_a_missing_modality_is_the_constant_alone():
    x, features, present = make_rows("image", "text")
    module = TensorFusion(select_dims("image", "text"), dim=5, width=4)
    product = module.compute_product(features, {**present, "text": NO}).unflatten(1, (5, 5))
    vector = torch.tanh(module.project["image"](x["image"]))
    assert torch.equal(product[:, :, 0], torch.cat([torch.ones(2, 1), vector], dim=1))
    assert not product[:, :, 1:].any()


@pytest.mark.parametrize("text_present", [YES, NO])
def test_low_rank_at_full_rank_is_the_tensor_fusion(text_present):
    """Any weight [o, i, j, k] is the sum over all (p, q) of [i = p] * [j = q] * weight[o, p, q, k]."""
    width, dim, size = 3, 5, 4
    _, features, present = make_rows("image", "text", "audio")
    present["text"] = text_present
    full = TensorFusion(DIMS, dim=dim, width=width)
    low = LowRank(DIMS, dim=dim, width=width, rank=size * size)
    low.project.load_state_dict(full.project.state_dict())
    identity = torch.eye(size)
    factors = {  # [rank, dim, 1 + width]; place 0 is the constant
        "image": identity[:, None, None, :].expand(size, size, dim, size),
        "text": identity[None, :, None, :].expand(size, size, dim, size),
        "audio": full.linear.weight.detach().view(dim, size, size, size).permute(1, 2, 0, 3),
    }
    for name, factor in factors.items():
        rows = factor.reshape(size * size * dim, size)
        low.factor[name].load_state_dict({"weight": rows[:, 1:], "bias": rows[:, 0]})
    low.load_state_dict({**low.state_dict(), "bias": full.linear.bias.detach()})
    torch.testing.assert_close(low(features, present), full(features, present))


def test_mlb_is_a_linear_layer_on_the_product_of_tanh():
    x, features, present = make_rows("image", "text")
    module = Bilinear(select_dims("image", "text"), dim=5, method="mlb", expansion=2)
    image, text = (torch.tanh(module.project[name](x[name])) for name in x)
    torch.testing.assert_close(module(features, present), module.reduce(image * text))
    torch.testing.assert_close(module(features, {**present, "image": NO}), module.reduce(text))


def test_mfb_sums_neighbours_takes_signed_roots_and_normalises():
    features = {"left": Features(torch.tensor([[1.0, 3.0, -8.0, -1.0]])), "right": Features(torch.ones(1, 4))}
    module = Bilinear({"left": 4, "right": 4}, dim=2, method="mfb", expansion=2)
    for linear in module.project.values():
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    fused = module(features, dict.fromkeys(features, torch.tensor([True])))  # sums 4, -9: roots 2, -3
    torch.testing.assert_close(fused, torch.tensor([[2.0, -3.0]]) * (2 / 13) ** 0.5)


def test_multiplicative_is_the_bilinear_form_of_the_paper():
    x, features, present = make_rows("image", "text")
    module = Multiplicative(select_dims("image", "text"), dim=5, width=4)
    h, z = (torch.tanh(module.project[name](x[name])) for name in x)
    matrix, shift = module.matrix["text"], module.shift["text"]
    bilinear = torch.einsum("bz,ohz,bh->bo", z, matrix.weight.view(5, 5, 4), h)
    expected = bilinear + h @ matrix.bias.view(5, 5).T + z @ shift.weight.T + shift.bias
    torch.testing.assert_close(module(features, present), expected)
    torch.testing.assert_close(module(features, {**present, "text": NO}), h)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TensorFusion(dict.fromkeys("abcde", 4), width=32),
            "fusion.width: 32 over 5 modalities makes an outer product of 39135393 elements per row, more than 65536;"
            " lower fusion.width to 8, or choose fusion=low_rank",
        ),
        (lambda: Bilinear(DIMS, method="mcb"), "fusion.method: 'mcb' is neither mlb nor mfb"),
    ],
)
def test_errors_name_the_key(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
