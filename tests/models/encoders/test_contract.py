"""The contract of every encoder, for each YAML file of configs/encoder and some variants."""

import functools
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mmrun import compose
from mmrun.errors import ConfigError
from mmrun.instantiate import find_target, instantiate
from mmrun.models.items import ItemEncoder
from mmrun.testing import encoders as contract
from mmrun.testing.encoders import assert_close, score, take_rows
from mmrun.testing.examples import ENCODER_METADATA, encoder_input, encoder_inputs
from mmrun.types import KINDS, Encoder

NODES = {
    f"{kind}/{name}": compose.load_option(f"encoder/{kind}", name)
    for kind in KINDS
    for name in compose.list_options(f"encoder/{kind}")
}
LARGER = ("image/resnet50", "image/vgg", "image/vit_small")  # the same class, and blocks that smaller models have
CASES: dict[str, dict[str, Any]] = {
    **{name: {} for name in NODES if name not in LARGER},
    # models of timm that are small, of the same blocks
    "audio/logmel_resnet": {"model": "test_resnet"},
    "image/convnext_tiny": {"model": "test_convnext"},
    "image/timm": {"model": "test_resnet"},
    "image/timm:mobilenet": {"model": "mobilenetv3_small_050"},
    "image/timm:channels_last": {"model": "test_mambaout"},
    "image/vit_tiny": {"model": "test_vit"},
    "text/gru:ahead": {"bidirectional": False, "num_layers": 2},
    "text/hf:cls": {"pool": "cls"},
    "text/hf:gpt2": {"model": "gpt2", "pool": "last"},
    "text/hf:roberta": {"model": "roberta"},
    "text/hf:minilm": {"model": "minilm"},
    "text/hf:t5": {"model": "t5", "pretrained": False},
    "text/hf:clip": {"model": "clip"},
    "image/hf:dinov2": {"model": "dinov2"},
    "image/hf:siglip": {"model": "siglip"},
    "image/hf:clip": {"model": "clip", "pretrained": False},
    "image/hf:resnet": {"model": "resnet", "pretrained": False},
    "audio/logmel_cnn:clip": {"normalize": "clip", "mel_scale": "htk"},
    "audio/logmel_resnet:vit": {"model": "test_vit", "hop_length": 510, "n_mels": 64},  # 64 x 32: patches of 16
    "audio/wavenet:cycles": {"num_layers": 3, "num_cycles": 2, "kernel": 3, "stride": 10, "pool": 7},
    "audio/hf:whisper": {"model": "whisper"},
    "audio/hf:ast": {"model": "ast"},
    "audio/hf:hubert": {"model": "hubert", "pretrained": False},
    "image/tower:siglip": {"model": "siglip"},
    "text/tower:siglip": {"model": "siglip"},
    "image/tower:dual": {"model": "vision-text-dual-encoder"},
    "text/tower:dual": {"model": "vision-text-dual-encoder"},
    "text/tower:altclip": {"model": "altclip"},
    "image/tower:flava": {"model": "flava"},
    "text/tower:flava": {"model": "flava"},
    "text/tower:clap": {"model": "clap"},
    "series/gru:lstm": {"cell": "lstm"},
    "points/pointnet:transform": {"transform": True},
    "video/frames:mean": {"temporal": "mean"},
    "video/frames:attention": {"temporal": "attention"},
    "video/hf:timesformer": {"model": "timesformer"},
    "video/hf:vivit": {"model": "vivit", "pretrained": False},
}
FITTED = {f"{kind}/{method}" for kind in ("image", "audio", "tabular", "series") for method in ("pca", "ica")}
DEFAULT = {"image/hf": "vit", "text/hf": "bert", "audio/hf": "wav2vec2", "video/hf": "videomae"}
Build = Callable[[str], Encoder]


def kind_of(case: str) -> str:
    return case.partition("/")[0]


@pytest.fixture(scope="session")
def build(tiny: Callable[[str], str], tiny_model: Callable[[str], str]) -> Build:
    """Return a function that builds a case once: fitted, in eval mode, and not to be changed by tests."""

    @functools.cache
    def build_case(case: str) -> Encoder:
        name = case.partition(":")[0]
        node = {**NODES[name], **CASES[case]}
        if name in DEFAULT:
            node["model"] = tiny(CASES[case].get("model", DEFAULT[name]))
        elif name.endswith("/tower"):
            default = "clap" if name == "audio/tower" else "clip"
            node["model"] = tiny_model(CASES[case].get("model", default))
        elif "pretrained" in node:
            node["pretrained"] = False
        if name == "video/frames_hf":
            node["frame"] = {**node["frame"], "model": tiny("vit")}
        elif name == "video/frames_timm":
            node["frame"] = {**node["frame"], "model": "test_resnet", "pretrained": False}
        elif name == "points/bev_timm":
            node["image"] = {**node["image"], "model": "test_resnet"}
        torch.manual_seed(0)
        encoder = instantiate(node, "encoder.x", ENCODER_METADATA[kind_of(case)], drop=("preprocess",))
        encoder.fit(encoder_inputs(kind_of(case)))
        return encoder.eval()

    return build_case


def test_all_options_are_listed() -> None:
    assert len(NODES) == 48
    assert {kind_of(name) for name in NODES} == set(KINDS)


@pytest.mark.parametrize("name", NODES)
def test_yaml_lists_every_argument(name: str) -> None:
    node = {key: value for key, value in NODES[name].items() if key not in ("_target_", "preprocess")}
    parameters = inspect.signature(find_target(NODES[name], "encoder.x")).parameters
    metadata = ENCODER_METADATA[kind_of(name)]
    assert set(node) == set(parameters) - set(metadata)
    presets = ("lenet", "resnet", "vgg", "vit", "convnext", "efficient")
    has_defaults = not name.startswith(tuple(f"image/{preset}" for preset in presets))
    for key, parameter in parameters.items():
        if has_defaults and key not in metadata and parameter.default is not parameter.empty:
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            assert node[key] == default, key


@pytest.mark.parametrize("name", NODES)
def test_its_preprocessor_is_of_its_kind(name: str) -> None:
    preprocessor = instantiate(NODES[name]["preprocess"], f"encoder.{name}.preprocess")
    assert type(preprocessor).__module__ == f"mmrun.data.preprocess.{kind_of(name)}"
    if name in ("text/hf", "text/tower"):
        assert preprocessor.tokenizer == NODES[name]["model"]


@pytest.mark.parametrize(
    ("name", "parameters", "dim", "num_tokens"),
    [
        ("image/convnext_tiny", 27_820_128, 768, 49),
        ("image/efficientnet_lite", 3_371_008, 1280, 49),
        ("image/resnet18", 11_176_512, 512, 49),
        ("image/resnet50", 23_508_032, 2048, 49),
        ("image/vgg", 128_771_840, 4096, 0),
        ("image/vit_small", 21_665_664, 384, 197),
        ("image/vit_tiny", 5_524_416, 192, 197),
    ],
)
def test_presets_of_timm_have_their_published_size(name: str, parameters: int, dim: int, num_tokens: int) -> None:
    metadata = {"in_channels": 3, "image_size": 224}
    with torch.device("meta"):  # shapes alone
        encoder = instantiate({**NODES[name], "pretrained": False}, "encoder.x", metadata, drop=("preprocess",))
        features = encoder(torch.zeros(2, 3, 224, 224))
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert features.pooled.shape == (2, dim)
    assert (0 if features.tokens is None else features.tokens.shape[1]) == num_tokens


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("check", contract.CHECKS)
def test_contract(check: Callable[[Encoder], None], case: str, build: Build) -> None:
    check(build(case))


@pytest.mark.parametrize("case", [case for case in CASES if kind_of(case) in ("image", "audio")])
def test_it_reads_several_items_of_a_row(case: str, build: Build) -> None:
    encoder, x = build(case), take_rows(encoder_input(kind_of(case)), [0, 1, 1, 0])  # two rows of two items
    parts = x if isinstance(x, dict) else {"": x}
    items = {name: part.unflatten(0, (2, 2)) for name, part in parts.items()}
    items["items"] = torch.tensor([[True, True], [True, False]])
    with torch.no_grad():
        single = encoder(take_rows(x, [0, 1])).pooled
        assert_close(ItemEncoder(encoder, "pooled")(items).pooled, torch.stack([single.mean(0), single[1]]))
        tokens = ItemEncoder(encoder, "tokens")(items)
    assert tokens.mask is not None
    assert not tokens.mask[1, tokens.mask.shape[1] // 2 :].any()


@pytest.mark.parametrize("case", ["audio/hf", "audio/hf:whisper", "audio/hf:ast"])
def test_trailing_silence_does_not_matter(case: str, build: Build) -> None:
    encoder, x = build(case), take_rows(encoder_input("audio"), [1])
    cut = {"waveform": x["waveform"][:, :12000], "length": x["length"]}
    with torch.no_grad():
        assert_close(encoder(x).pooled, encoder(cut).pooled)


@pytest.mark.parametrize("case", CASES)
def test_all_but_fitted_encoders_have_parameters_and_only_fixed_positions_are_not_trainable(
    case: str, build: Build
) -> None:
    parameters = dict(build(case).named_parameters())
    assert bool(parameters) == (case not in FITTED)
    frozen = {name for name, parameter in parameters.items() if not parameter.requires_grad}
    assert frozen <= {"net.embed_positions.weight"}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("text/gru", {"cell": "rnn"}, "encoder.x.cell: 'rnn' is not one of gru, lstm"),
        (
            "text/gru",
            {"dim": 33},
            "encoder.x: dim=33: each direction has half of it, so it must be even; or set bidirectional=false",
        ),
        ("text/transformer", {"num_heads": 3}, "encoder.x: dim=128: not divisible by num_heads=3"),
        (
            "image/cnn",
            {"channels": [8, 16]},
            "encoder.x: channels=[8, 16] and kernels=[3, 3, 3]: give one of each per block",
        ),
        (
            "series/cnn1d",
            {"kernels": [3]},
            "encoder.x: channels=[32, 64, 128] and kernels=[3]: give one of each per block",
        ),
        ("image/lenet", {"kernels": [5, 4, 3, 3]}, "encoder.x: kernels=[5, 4, 3, 3]: kernel sizes must be odd"),
        ("audio/mfcc", {"mel_scale": "bark"}, "encoder.x.mel_scale: 'bark' is not one of slaney, htk"),
        (
            "audio/logmel_cnn",
            {"normalize": "all"},
            "encoder.x.normalize: 'all' is not one of fixed, clip",
        ),
    ],
)
def test_values_out_of_range_are_rejected(name: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        instantiate({**NODES[name], **change}, "encoder.x", ENCODER_METADATA[kind_of(name)], drop=("preprocess",))
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["tabular/mlp", "tabular/ft_transformer"])
@pytest.mark.parametrize(("num_numeric", "cardinalities"), [(3, []), (0, [4, 6])])
def test_tables_may_be_all_numbers_or_all_categories(name: str, num_numeric: int, cardinalities: list[int]) -> None:
    metadata = {"num_numeric": num_numeric, "cardinalities": cardinalities}
    encoder = instantiate(NODES[name], "encoder.x", metadata, drop=("preprocess",))
    full = encoder_input("tabular")
    x = {key: full[key][:, :num_numeric] for key in ("numeric", "missing")}
    x["categorical"] = full["categorical"][:, : len(cardinalities)]
    features = encoder(x)
    score(features).backward()
    assert features.pooled.isfinite().all()
    assert all(p.grad is not None for p in encoder.parameters() if p.numel())


def test_encoders_trained_from_scratch_import_no_library() -> None:
    names = ("image", "text", "audio", "tabular", "series", "classical")
    families = ", ".join(f"mmrun.models.encoders.{name}" for name in names)
    heavy = "{'timm', 'transformers', 'torchvision', 'huggingface_hub', 'omegaconf', 'sklearn', 'scipy'}"
    code = f"import sys, {families}; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
