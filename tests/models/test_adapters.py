"""Adapters change nothing at first, and later few parameters, most of which they add."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmrun import compose
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.models.adapters import Prompt
from mmrun.models.encoders.hf import HfImage, HfText
from mmrun.models.encoders.hf_audio import hf_audio
from mmrun.models.encoders.hf_towers import ImageTower, TextTower
from mmrun.models.encoders.image import Cnn
from mmrun.models.encoders.tabular import FtTransformer
from mmrun.models.encoders.text import Rnn, Transformer
from mmrun.models.encoders.timm import Timm
from mmrun.types import Encoder

NAMES = compose.list_options("adapter")
TEXT = {"ids": torch.randint(5, 60, (3, 12), generator=torch.Generator().manual_seed(0)), "mask": torch.ones(3, 12) > 0}
TEXT["mask"][1, 5:] = False
IMAGE = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
CELLS = {
    "numeric": torch.randn(3, 2, generator=torch.Generator().manual_seed(0)),
    "missing": torch.zeros(3, 2, dtype=torch.bool),
    "categorical": torch.tensor([[1], [2], [3]]),
}
SOUND = {
    "waveform": torch.rand(3, 16000, generator=torch.Generator().manual_seed(0)) - 0.5,
    "length": torch.tensor([16000] * 3),
}
Tiny = Callable[[str], str]

# Encoders with linear layers: those that every adapter can adapt, but for some with prompts.
LINEAR = {
    "bert": lambda tiny: HfText(tiny("bert"), 60, 12),
    "gpt2": lambda tiny: HfText(tiny("gpt2"), 60, 12, pool="last"),
    "t5": lambda tiny: HfText(tiny("t5"), 60, 12, pretrained=False),
    "hf vit": lambda tiny: HfImage(tiny("vit"), 3, 32),
    "hf siglip": lambda tiny: HfImage(tiny("siglip"), 3, 32),
    "siglip tower": lambda tiny: ImageTower(tiny("siglip"), 3, 32),
    "timm vit": lambda tiny: Timm("test_vit", 3, 32, pretrained=False),
    "own text": lambda tiny: Transformer(60, 12, 0, dim=16, num_heads=2),
    "own table": lambda tiny: FtTransformer(2, [5], dim=16, num_heads=2),
    "whisper": lambda tiny: hf_audio(tiny("whisper"), 16000, 16000),
    "wav2vec2": lambda tiny: hf_audio(tiny("wav2vec2"), 16000, 16000),
    "ast": lambda tiny: hf_audio(tiny("ast"), 16000, 16000),
}
CASES = [
    *(("lora", case) for case in [*LINEAR, "cnn", "timm resnet", "timm same"]),
    *(("adapter", case) for case in LINEAR),
    *(("prompt", case) for case in LINEAR if case not in ("whisper", "wav2vec2")),
]
OTHERS = {
    "cnn": lambda tiny: Cnn(3, (8, 16), (3, 3)),
    "timm resnet": lambda tiny: Timm("test_resnet", 3, 32, pretrained=False),
    "timm same": lambda tiny: Timm("tf_efficientnet_lite0", 3, 32, pretrained=False),
    "gru": lambda tiny: Rnn(60, 0, "gru"),
    "text tower": lambda tiny: TextTower(tiny("clip"), 60, 12, 0),
}


def build(case: str, tiny: Tiny) -> Encoder:
    torch.manual_seed(0)
    return {**LINEAR, **OTHERS}[case](tiny)


def adapt(name: str, encoder: Encoder, **changes: Any) -> bool:
    torch.manual_seed(1)
    node = {**compose.load_option("adapter", name), **changes}
    metadata = {"max_tokens": 12} if encoder.kind == "text" else {}
    return instantiate(node, "strategy.adapt", metadata, encoder=encoder)


def example_input(encoder: Encoder) -> Any:
    return {"image": IMAGE, "text": TEXT, "tabular": CELLS, "audio": SOUND}[encoder.kind]


def read(encoder: Encoder) -> list[Tensor]:
    """Encode without gradients, as in evaluation, where torch has faster paths."""
    with torch.no_grad():
        features = encoder.eval()(example_input(encoder))
    return [features.pooled, *([] if features.tokens is None else [features.tokens])]


def close(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(
        a.shape == b.shape and torch.allclose(a, b, atol=1e-5, rtol=1e-4) for a, b in zip(first, second, strict=True)
    )


def train(encoder: Encoder, steps: int = 3) -> None:
    trainable = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=1.0)
    encoder.train()
    for _ in range(steps):
        optimizer.zero_grad()
        features = encoder(example_input(encoder))
        features.pooled[:, ::2].mean().backward()
        nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()


def find_layer_norms(encoder: Encoder) -> set[int]:
    """Return the data pointers of the parameters of layer norms."""
    norms = nn.ModuleList(module for module in encoder.modules() if type(module).__name__.endswith("LayerNorm"))
    return {parameter.data_ptr() for parameter in norms.parameters()}


def test_all_adapters_are_listed() -> None:
    assert NAMES == ["adapter", "lora", "prompt"]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_only_what_is_added_is_trained_and_beside_bottlenecks_the_layer_norms(name: str, case: str, tiny: Tiny) -> None:
    encoder = build(case, tiny)
    before, frozen = read(encoder), {p.data_ptr(): p.detach().clone() for p in encoder.parameters()}
    if name == "adapter":
        frozen = {pointer: values for pointer, values in frozen.items() if pointer not in find_layer_norms(encoder)}
    assert adapt(name, encoder) is True
    base = [p for p in encoder.parameters() if p.data_ptr() in frozen]
    added = [(n, p) for n, p in encoder.named_parameters() if p.data_ptr() not in frozen]
    assert len(base) == len(frozen)
    assert not any(p.requires_grad for p in base)
    assert added
    assert all(p.requires_grad for _, p in added)
    assert name == "prompt" or close(read(encoder), before)  # prompts alone change the output from the start
    start = read(encoder)
    train(encoder)
    assert all(torch.equal(p, frozen[p.data_ptr()]) for p in base)
    assert not close(read(encoder), start)
    without_gradient = [n for n, p in added if p.grad is None]
    assert not without_gradient
    assert [part.shape for part in read(encoder)] == [part.shape for part in before]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_training_and_evaluation_see_the_same_encoder(name: str, case: str, tiny: Tiny) -> None:
    """A fused path of torch that reads the weights past the adapter would differ."""
    encoder = build(case, tiny)
    adapt(name, encoder)
    train(encoder)
    in_eval = read(encoder)
    features = encoder(example_input(encoder))
    assert close([features.pooled.detach(), *([] if features.tokens is None else [features.tokens.detach()])], in_eval)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_copy_has_its_own_adapter_and_a_state_dict_restores_it(name: str, case: str, tiny: Tiny) -> None:
    encoder = build(case, tiny)
    adapt(name, encoder)
    first, twin = read(encoder), copy.deepcopy(encoder)
    train(encoder)
    assert close(read(twin), first)
    fresh = build(case, tiny)
    adapt(name, fresh)
    fresh.load_state_dict(encoder.state_dict())
    assert close(read(fresh), read(encoder))
    train(twin)
    assert close(read(twin), read(encoder))


@pytest.mark.parametrize("case", ["bert", "gpt2", "timm vit", "own text", "timm resnet"])
def test_lora_merged_into_the_weights_gives_the_same(case: str, tiny: Tiny) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    encoder = build(case, tiny)
    adapt("lora", encoder, rank=2, alpha=4.0)
    train(encoder)
    unmerged = read(encoder)
    layers = [module for module in encoder.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.merge()
    assert layers
    assert close(read(encoder), unmerged)


def test_lora_adds_the_product_times_alpha_over_rank() -> None:
    encoder = FtTransformer(2, [5], dim=16, num_heads=2, num_layers=1)
    weight = encoder.blocks.layers[0].linear1.weight.detach().clone()
    adapt("lora", encoder, rank=2, alpha=6.0)
    layer = encoder.blocks.layers[0].linear1
    nn.init.normal_(layer.lora_B["default"].weight)
    x = torch.randn(4, 16)
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    assert torch.allclose(layer(x), x @ (weight + 3.0 * product).T + layer.bias, atol=1e-5)


def test_lora_adapts_convolutions_unless_told_not_to(tiny: Tiny) -> None:
    assert adapt("lora", build("cnn", tiny)) is True
    assert adapt("lora", build("cnn", tiny), convolutions=False) is False


def test_bottlenecks_stand_after_attention_and_mlp(tiny: Tiny) -> None:
    encoder = build("bert", tiny)
    adapt("adapter", encoder, dim=4)
    bottlenecks = [name for name, module in encoder.named_modules() if type(module).__name__ == "Bottleneck"]
    first_block = ["net.encoder.layer.0.attention.output.dense", "net.encoder.layer.0.output.dense"]
    assert bottlenecks == [*first_block, *(name.replace("0", "1") for name in first_block)]
    trainable = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    norms = 5 * (32 + 32)  # two in each block, one after the embeddings
    assert trainable == 4 * (32 * 4 + 4 + 4 * 32 + 32) + norms


def test_prompts_are_read_by_every_token() -> None:
    prompt = Prompt(2, 3)
    tokens, mask = torch.zeros(1, 4, 3), torch.tensor([[True, True, False, False]])
    tokens_and_prompt, extended_mask = prompt.blocks_pre_hook(nn.Identity(), (tokens, mask))
    assert torch.equal(tokens_and_prompt[0, :2], prompt.vectors)
    assert extended_mask.tolist() == [[True, True, True, True, False, False]]
    assert prompt.blocks_hook(nn.Identity(), (), tokens_and_prompt).shape == (1, 4, 3)


@pytest.mark.parametrize(
    ("name", "case"),
    [("adapter", "cnn"), ("prompt", "cnn"), ("prompt", "gru"), ("prompt", "text tower"), ("lora", "gru")],
)
def test_an_encoder_that_cannot_be_adapted_is_trained_as_a_whole_or_frozen(name: str, case: str, tiny: Tiny) -> None:
    encoder = build(case, tiny)
    assert adapt(name, encoder) is False
    assert all(p.requires_grad for p in encoder.parameters())
    assert adapt(name, encoder, fallback="stay") is False
    assert not any(p.requires_grad for p in encoder.parameters())


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("lora", {"rank": 0}, "strategy.adapt.rank: 0 is not a whole number from 1 to 65536"),
        ("adapter", {"dim": 0}, "strategy.adapt.dim: 0 is not a whole number from 1 to 65536"),
        ("prompt", {"num_vectors": 0}, "strategy.adapt.num_vectors: 0 is not a whole number from 1 to 65536"),
        (
            "lora",
            {"fallback": "leave"},
            "strategy.adapt.fallback: 'leave' is not one of learn, stay; did you mean 'learn'?",
        ),
    ],
)
def test_values_out_of_range_are_rejected(name: str, changes: dict[str, Any], message: str, tiny: Tiny) -> None:
    with pytest.raises(ConfigError) as caught:
        adapt(name, build("gru", tiny), **changes)
    assert str(caught.value) == message


def test_more_vectors_than_a_model_can_read_are_rejected(tiny: Tiny) -> None:
    with pytest.raises(ConfigError) as caught:
        adapt("prompt", build("bert", tiny), num_vectors=9)
    assert str(caught.value).startswith(
        "strategy.adapt.num_vectors: 9 vectors and 12 tokens are too many for this model ("
    )
