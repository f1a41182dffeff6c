"""Each fusion compared with its paper's formula, by hand or by another implementation."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions import align
from mmrun.models.fusions.attention import Attention, Bottleneck, CrossAttention, SelfAttention
from mmrun.models.fusions.conv import Cnn
from mmrun.models.fusions.gated import Film, Gated
from mmrun.models.fusions.graph import Graph, GraphAttention
from mmrun.models.fusions.late import Late
from mmrun.models.fusions.mixture import MixtureOfExperts
from mmrun.models.fusions.presence import masked_mean, masked_softmax
from mmrun.models.fusions.simple import Concat, Max, Mean, Sum
from mmrun.models.fusions.tensor import Bilinear, LowRank, Multiplicative, TensorFusion
from mmrun.models.fusions.transformer import MultiHead
from mmrun.types import Features

DIMS = {"image": 3, "text": 2, "audio": 4}
YES, NO = torch.tensor([True, True]), torch.tensor([False, False])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make_rows(*modalities: str) -> tuple[dict[str, Tensor], dict[str, Features], dict[str, Tensor]]:
    """Return two rows of random pooled features, as tensors and as a fusion reads them, and that all are present."""
    x = {name: torch.randn(2, DIMS[name]) for name in modalities}
    return x, {name: Features(value) for name, value in x.items()}, dict.fromkeys(modalities, YES)


def select_dims(*modalities: str) -> dict[str, int]:
    return {name: DIMS[name] for name in modalities}


def test_masked_mean_and_softmax_leave_out_what_is_masked():
    values = torch.tensor([[[1.0], [3.0], [float("nan")]], [[5.0], [7.0], [9.0]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(values, mask).tolist() == [[2.0], [0.0]]
    scores = torch.tensor([[0.0, 0.0, float("inf")], [1.0, 2.0, 3.0]])
    assert masked_softmax(scores, mask, dim=1).tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]


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


def test_gates_are_convex_weights_of_what_is_present():
    _, features, present = make_rows("image", "text", "audio")
    weights = Gated(DIMS, dim=5).compute_gates(features, {**present, "text": torch.tensor([True, False])})
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 5))
    assert (weights >= 0).all()
    assert weights[1, 1].tolist() == [0.0] * 5


def test_the_gate_of_two_modalities_is_a_sigmoid():
    x, features, present = make_rows("image", "text")
    module = Gated(select_dims("image", "text"), dim=5)
    concatenated = torch.cat([x["image"], x["text"]], dim=1)
    z = torch.sigmoid(module.gate["image"](concatenated) - module.gate["text"](concatenated))
    image, text = (torch.tanh(module.project[name](x[name])) for name in x)
    torch.testing.assert_close(module(features, present), z * image + (1 - z) * text)


def test_film_scales_and_shifts_the_named_modality():
    x, features, present = make_rows("image", "text")
    module = Film(select_dims("image", "text"), dim=5, modulated="text")
    text = module.project["text"](x["text"])
    scale, shift = module.scale["image"](x["image"]), module.shift["image"](x["image"])
    torch.testing.assert_close(module(features, present), F.relu((1 + scale) * text + shift))
    torch.testing.assert_close(module(features, {**present, "image": NO}), F.relu(text))
    torch.testing.assert_close(module(features, {**present, "text": NO}), F.relu(shift))


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


def test_a_gate_that_chooses_gives_one_expert():
    x, features, present = make_rows("image", "text")
    module = MixtureOfExperts(select_dims("image", "text"), dim=5, num_experts=3)
    nn.init.zeros_(module.gate.weight)
    module.gate.load_state_dict({"weight": module.gate.weight, "bias": torch.tensor([0.0, 200.0, 0.0])})
    x_and_flags = torch.cat([x["image"], torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])], dim=1)
    torch.testing.assert_close(module(features, {**present, "text": NO}), F.relu(module.experts[1](x_and_flags)))


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


@pytest.mark.parametrize("weights", ["uniform", "learned"])
def test_late_averages_the_logits_of_what_is_present(weights):
    x, features, present = make_rows("image", "text", "audio")
    module = Late(DIMS, num_outputs=2, weights=weights)
    head = module.head(2)
    nn.init.constant_(head.bias, 0.5)
    share = torch.tensor([0.5, 0.5])
    if module.scores is not None:
        module.load_state_dict({**module.state_dict(), "scores": torch.tensor([1.0, 2.0, 3.0])})
        share = torch.tensor([1.0, 2.0]).softmax(0)
    logits = [x[name] @ module.logits[name].weight.T for name in ("image", "text")]
    fused = head(module(features, {**present, "audio": NO}))
    torch.testing.assert_close(fused, share[0] * logits[0] + share[1] * logits[1] + 0.5)
    assert head(module(features, dict.fromkeys(DIMS, NO))).tolist() == [[0.5, 0.5]] * 2


def test_attention_is_torchs_own_with_a_zero_to_read():
    ours = MultiHead(dim=8, num_heads=2, dropout=0.0)
    reference = nn.MultiheadAttention(8, 2, add_zero_attn=True, batch_first=True)
    parts = [ours.query, ours.key, ours.value]
    reference.load_state_dict(
        {
            "in_proj_weight": torch.cat([linear.weight for linear in parts]),
            "in_proj_bias": torch.cat([linear.bias for linear in parts]),
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x, context = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    mask = torch.tensor([[True, True, False, True, False], [False] * 5])
    read = ours(x, context, mask)
    torch.testing.assert_close(read, reference(x, context, context, key_padding_mask=~mask)[0])
    torch.testing.assert_close(read[1], ours.out.bias.expand(3, 8))


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
    ("aligner", "mode"), [(align.Nearest, {"mode": "nearest-exact"}), (align.Linear, {"mode": "linear"})]
)
@pytest.mark.parametrize("length", [1, 3, 5, 12])
def test_alignment_is_interpolation_of_the_real_tokens(aligner, mode, length):
    tokens = torch.randn(2, 7, 4)
    mask = torch.tensor([[True] * 7, [False, True, True, False, True, True, True]])
    aligned = aligner(length)(tokens, mask)
    for row in range(2):
        real = tokens[row, mask[row]].T[None]  # [1, D, real tokens]
        torch.testing.assert_close(aligned[row], F.interpolate(real, size=length, **mode)[0].T)


def test_four_tokens_on_two_places():
    tokens = torch.tensor([[[0.0], [1.0], [2.0], [3.0]]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert align.Linear(2)(tokens, mask).tolist() == [[[0.5], [2.5]]]
    assert align.Nearest(2)(tokens, mask).tolist() == [[[1.0], [3.0]]]


def test_attention_alignment_reads_only_real_tokens():
    aligner = align.Attention(length=6, dim=8, num_heads=2)
    tokens, mask = torch.randn(2, 5, 8), torch.tensor([[True] * 5, [True, True, False, False, False]])
    aligned = aligner(tokens, mask)
    assert aligned.shape == (2, 6, 8)
    torch.testing.assert_close(aligned[1:], aligner(tokens[1:, :2], mask[1:, :2]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TensorFusion(dict.fromkeys("abcde", 4), width=32),
            "fusion.width: 32 over 5 modalities makes an outer product of 39135393 elements per row, more than 65536;"
            " lower fusion.width to 8, or choose fusion=low_rank",
        ),
        (lambda: SelfAttention(DIMS, dim=10, num_heads=4), "fusion.num_heads: 4 does not divide fusion.dim=10"),
        (lambda: Graph(DIMS, dim=10, num_heads=4), "fusion.num_heads: 4 does not divide fusion.dim=10"),
        (
            lambda: Bottleneck(DIMS, num_layers=1),
            "fusion.num_layers: with 1 nothing crosses the bottleneck; set 2 or more",
        ),
        (lambda: Bilinear(DIMS, method="mcb"), "fusion.method: 'mcb' is neither mlb nor mfb"),
        (lambda: Cnn(DIMS, align="cubic"), "fusion.align: 'cubic' is none of nearest, linear, attention"),
        (
            lambda: Film(DIMS, modulated="video"),
            "fusion.modulated: 'video' is none of the modalities image, text, audio",
        ),
        (lambda: Late(DIMS, num_outputs=2, weights="equal"), "fusion.weights: 'equal' is neither uniform nor learned"),
        (
            lambda: Late(DIMS, num_outputs=2).head(3),
            "fusion: late fusion computes 2 logits, but one task has 3 outputs: it supports a single task;"
            " choose another fusion",
        ),
    ],
)
def test_errors_name_the_key(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
