"""Layers in 8 bits compute the same on every path: oneDNN, fp32 on rounded numbers, and exported."""

import copy

import pytest
import torch
from torch import nn

from mmrun.models.compress import int8
from mmrun.models.compress.int8 import Int8Layer, Quantization, choose_scale
from mmrun.models.compress.quantize import quantize_layers, split_attentions

LAYERS = {
    "linear": (nn.Linear(8, 5), (4, 3, 8)),
    "without a bias": (nn.Linear(8, 5, bias=False), (4, 8)),
    "in 1 dimension": (nn.Conv1d(4, 6, 3, stride=2), (2, 4, 9)),
    "in groups": (nn.Conv2d(4, 8, 3, groups=2, padding=1), (2, 4, 9, 9)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, dilation=2), (2, 4, 9, 9)),
    "in 3 dimensions": (nn.Conv3d(1, 4, 3), (2, 1, 5, 5, 5)),
}
QUANTIZATIONS = [
    Quantization(),
    Quantization("static", "symmetric", "tensor"),
    Quantization("dynamic", "asymmetric", "tensor"),
    Quantization("dynamic", "symmetric", "channel"),
]


def quantize(layer, quantization, x):
    model = nn.Sequential(copy.deepcopy(layer)).eval()
    assert quantize_layers(model, quantization, lambda: model(x)) == ["0"]
    return model


@pytest.mark.parametrize("quantization", QUANTIZATIONS, ids=lambda quantization: quantization.slug)
@pytest.mark.parametrize("name", LAYERS)
def test_onednn_computes_what_fp32_does_on_the_rounded_numbers(monkeypatch, name, quantization):
    if not int8.has_onednn():
        pytest.skip("this build of torch has no oneDNN")
    layer, shape = LAYERS[name]
    x = torch.randn(shape)
    model = quantize(layer, quantization, x)
    with torch.no_grad():
        in_fp32 = model(x)
        monkeypatch.setattr(int8, "MIN_PRODUCTS", 0)
        by_onednn = model(x)
        assert by_onednn.is_contiguous()
        torch.testing.assert_close(by_onednn, in_fp32, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(by_onednn, layer(x), atol=0.1, rtol=0)
        monkeypatch.setattr(int8, "MIN_PRODUCTS", 1_000_000)
        torch.testing.assert_close(model(0.3 * x), copy.deepcopy(model)(0.3 * x))


def test_numbers_are_rounded_to_the_nearest_of_256():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    quantized = Int8Layer(layer, "asymmetric", input_range=(0.0, 255.0))
    assert quantized(torch.tensor([[0.0], [1.4], [1.6], [254.6], [300.0], [-3.0]])).flatten().tolist() == (
        pytest.approx([0, 1, 2, 255, 255, 0])
    )
    assert quantized.int8_weight.item() == 127


@pytest.mark.parametrize(
    ("low", "high", "scheme", "scale", "zero_point"),
    [
        (-1.0, 1.55, "asymmetric", 0.01, 100),
        (2.0, 2.55, "asymmetric", 0.01, 0),  # 0 is always among the numbers
        (-1.27, 0.5, "symmetric", 0.01, 128),
        (0.0, 0.0, "asymmetric", 1e-12, 0),
    ],
)
def test_scales(low, high, scheme, scale, zero_point):
    chosen = choose_scale(torch.tensor(low), torch.tensor(high), scheme)
    assert [value.item() for value in chosen] == pytest.approx([scale, zero_point])


def test_gradients_pass_through_rounding():
    layer = nn.Linear(3, 2)
    quantized = Int8Layer(layer, "asymmetric", input_range=(-1.0, 1.0))
    x = torch.tensor([[0.1, 0.2, 0.3]], requires_grad=True)
    quantized(x).sum().backward()
    torch.testing.assert_close(x.grad, quantized.weight.sum(0, keepdim=True))


def test_attention_computes_the_same_in_layers_that_can_be_quantized():
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x, padding = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.no_grad():
        expected = encoder(x, src_key_padding_mask=padding)
        split_attentions(encoder)
        actual = encoder(x, src_key_padding_mask=padding)
        torch.testing.assert_close(actual[~padding], expected[~padding])
        names = quantize_layers(encoder, Quantization(), lambda: encoder(x))
    assert names == ["self_attn.qkv", "self_attn.out_proj", "linear1", "linear2"]


def test_layers_that_no_calibration_row_reaches_stay():
    model = nn.ModuleDict({"read": nn.Linear(2, 2), "unread": nn.Linear(2, 2)})
    assert quantize_layers(model, Quantization(), lambda: model["read"](torch.randn(3, 2))) == ["read"]
    assert type(model["unread"]) is nn.Linear


def test_an_exported_layer_computes_in_8_bits():
    x = torch.randn(3, 8)
    model = quantize(nn.Linear(8, 5), Quantization(), x)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert "quantize_per_tensor" in str(program.graph)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize("zero_point", [float("inf"), float("nan"), -1.0])
def test_a_zero_point_of_a_stranger_is_checked(zero_point):
    layer = Int8Layer(nn.Linear(3, 2), "asymmetric", input_range=(-1.0, 1.0))
    weights = {**layer.state_dict(), "input_zero_point": torch.tensor(zero_point)}
    with pytest.raises(RuntimeError, match=f"input_zero_point is {zero_point}, not 0 to 255"):
        layer.load_state_dict(weights)
