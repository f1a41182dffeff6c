"""What every encoder promises, for each YAML of configs/encoder and some variants."""

import copy
import functools
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mmrun import compose
from mmrun.errors import ConfigError
from mmrun.instantiate import find_target, instantiate
from mmrun.types import KINDS, Encoder, Features

NODES = {
    f"{kind}/{name}": compose.load_option(f"encoder/{kind}", name)
    for kind in KINDS
    for name in compose.list_options(f"encoder/{kind}")
}
CASES: dict[str, dict[str, Any]] = {
    **{name: {} for name in NODES},
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
    "image/timm:mobilenet": {"model": "mobilenetv3_small_050"},
    "image/timm:channels_last": {"model": "mambaout_femto"},
    "audio/logmel_cnn:clip": {"normalize": "clip", "mel_scale": "htk"},
    "audio/logmel_resnet:vit": {"model": "test_vit", "hop_length": 510, "n_mels": 64},  # 64 x 32: patches of 16
    "audio/wavenet:cycles": {"num_layers": 3, "num_cycles": 2, "kernel": 3, "stride": 10, "pool": 7},
    "audio/hf:whisper": {"model": "whisper"},
    "audio/hf:ast": {"model": "ast"},
    "audio/hf:hubert": {"model": "hubert", "pretrained": False},
    "series/gru:lstm": {"cell": "lstm"},
}
FITTED = {f"{kind}/{method}" for kind in ("image", "audio", "tabular", "series") for method in ("pca", "ica")}
LEARNING = [case for case in CASES if case not in FITTED]  # the others have no parameters at all
DEFAULT = {"image/hf": "vit", "text/hf": "bert", "audio/hf": "wav2vec2"}
FACTS = {
    "image": {"in_channels": 3, "image_size": 64},
    "text": {"vocab_size": 60, "max_tokens": 12, "pad_id": 0, "mask_id": 4, "special_ids": [0, 1, 2, 3, 4]},
    "audio": {"sample_rate": 16000, "num_samples": 16000},
    "tabular": {"num_numeric": 3, "cardinalities": [4, 6]},
    "series": {"in_channels": 2, "num_steps": 24},
}
Build = Callable[[str], Encoder]


def kind_of(case: str) -> str:
    return case.partition("/")[0]


@pytest.fixture(scope="session")
def build(tiny: Callable[[str], str]) -> Build:
    """Build a case once: fitted where it can be, in eval mode, not to be changed."""

    @functools.cache
    def built(case: str) -> Encoder:
        name = case.partition(":")[0]
        node = {**NODES[name], **CASES[case]}
        if name in DEFAULT:
            node["model"] = tiny(CASES[case].get("model", DEFAULT[name]))
        elif "pretrained" in node:
            node["pretrained"] = False
        torch.manual_seed(0)
        encoder = instantiate(node, "encoder.it", FACTS[kind_of(case)], drop=("preprocess",))
        encoder.fit(many(kind_of(case)))
        return encoder.eval()

    return built


def rows(kind: str, seed: int = 1) -> Any:
    """Give three rows: whole ones; in kinds with padding a whole, a short, and a missing one."""
    generator = torch.Generator().manual_seed(seed)
    part = torch.tensor([1.0, 0.5, 0.0])
    if kind == "image":
        return torch.rand(3, 3, 64, 64, generator=generator)
    if kind == "text":
        mask = torch.arange(12) < part[:, None] * 12
        return {"ids": torch.randint(5, 60, (3, 12), generator=generator) * mask, "mask": mask}
    if kind == "audio":
        length = (part * 16000).long()
        noise = torch.randn(3, 16000, generator=generator).clamp(-3, 3) / 4
        return {"waveform": noise * (torch.arange(16000) < length[:, None]), "length": length}
    if kind == "tabular":
        missing = torch.rand(3, 3, generator=generator) < 0.4
        numeric = torch.randn(3, 3, generator=generator) * ~missing
        categorical = torch.randint(0, 24, (3, 2), generator=generator) % torch.tensor([4, 6])
        return {"numeric": numeric, "missing": missing, "categorical": categorical}
    mask = torch.arange(24) < part[:, None] * 24
    return {"values": torch.randn(3, 2, 24, generator=generator) * mask[:, None], "mask": mask}


def many(kind: str) -> Iterator[Any]:
    """Give 40 batches of rows to fit an encoder on."""
    return (rows(kind, seed) for seed in range(40))


def take(x: Any, index: list[int]) -> Any:
    return tree_map(lambda part: part[index], x)


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def score(features: Features) -> Tensor:
    """Give a number that every part of the features has a say in."""
    generator = torch.Generator().manual_seed(2)
    parts = [features.pooled] if features.tokens is None else [features.pooled, features.tokens]
    wanted = [torch.randn(part.shape, generator=generator) for part in parts]
    return sum(((part - want) ** 2).mean() for part, want in zip(parts, wanted, strict=True))


def test_all_are_found() -> None:
    assert len(NODES) == 36
    assert {kind_of(name) for name in NODES} == set(KINDS)


@pytest.mark.parametrize("name", NODES)
def test_yaml_lists_every_argument(name: str) -> None:
    node = {key: value for key, value in NODES[name].items() if key not in ("_target_", "preprocess")}
    taken = inspect.signature(find_target(NODES[name], "encoder.it")).parameters
    metadata = FACTS[kind_of(name)]
    assert set(node) == set(taken) - set(metadata)
    presets = ("lenet", "resnet", "vgg", "vit", "convnext", "efficient")
    plain = not name.startswith(tuple(f"image/{preset}" for preset in presets))
    for key, parameter in taken.items():
        if plain and parameter.default is not parameter.empty:
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            assert node[key] == default, key


@pytest.mark.parametrize("name", NODES)
def test_prepares_what_it_reads(name: str) -> None:
    preprocessor = instantiate(NODES[name]["preprocess"], f"encoder.{name}.preprocess")
    assert type(preprocessor).__module__ == f"mmrun.data.preprocess.{kind_of(name)}"
    if name == "text/hf":
        assert preprocessor.tokenizer == NODES[name]["model"]


@pytest.mark.parametrize("case", CASES)
def test_features_have_their_shapes(case: str, build: Build) -> None:
    encoder = build(case)
    with torch.no_grad():
        pooled, tokens, mask = encoder(rows(kind_of(case)))
    assert encoder.kind == kind_of(case)
    assert pooled.shape == (3, encoder.dim)
    assert pooled.isfinite().all()
    if tokens is not None:
        assert tokens.shape == (3, tokens.shape[1], encoder.dim)
        assert tokens.isfinite().all()
    if mask is not None:
        assert mask.shape == tokens.shape[:2]
        assert mask.dtype == torch.bool
        real = mask.sum(1).tolist()
        assert real[0] == mask.shape[1]
        assert real[0] > real[1] > 0
        assert real[2] > 0  # a row without any token still has one to read


@pytest.mark.parametrize("case", CASES)
def test_rows_do_not_see_each_other(case: str, build: Build) -> None:
    encoder, x = build(case), rows(kind_of(case))
    with torch.no_grad():
        straight, turned, alone = encoder(x), encoder(take(x, [2, 0, 1])), encoder(take(x, [1]))
    for part, other, single in zip(straight, turned, alone, strict=True):
        if part is not None:
            close(part[[2, 0, 1]], other)
            close(part[[1]], single)


@pytest.mark.parametrize("case", [case for case in CASES if kind_of(case) in ("text", "series")])
def test_what_stands_in_padding_does_not_matter(case: str, build: Build) -> None:
    encoder, x = build(case), take(rows(kind_of(case)), [0, 1])
    name = "ids" if kind_of(case) == "text" else "values"
    padding = ~x["mask"] if name == "ids" else ~x["mask"][:, None]
    spoiled = {**x, name: x[name].masked_fill(padding, 7)}
    with torch.no_grad():
        clean, other = encoder(x), encoder(spoiled)
    close(clean.pooled, other.pooled)
    if clean.tokens is not None:
        close(clean.tokens[clean.mask], other.tokens[clean.mask])


@pytest.mark.parametrize("case", [case for case in CASES if kind_of(case) in ("text", "series")])
def test_how_long_padding_is_does_not_matter(case: str, build: Build) -> None:
    encoder, x = build(case), take(rows(kind_of(case)), [1])
    end = int(x["mask"].sum())
    cut = {name: part[..., :end] for name, part in x.items()}
    with torch.no_grad():
        padded, whole = encoder(x), encoder(cut)
    close(padded.pooled, whole.pooled)
    if padded.tokens is not None:
        close(padded.tokens[padded.mask], whole.tokens[whole.mask])


@pytest.mark.parametrize("case", ["audio/hf", "audio/hf:whisper", "audio/hf:ast"])
def test_silence_behind_a_sound_does_not_matter(case: str, build: Build) -> None:
    encoder, x = build(case), take(rows("audio"), [1])
    cut = {"waveform": x["waveform"][:, :12000], "length": x["length"]}
    with torch.no_grad():
        close(encoder(x).pooled, encoder(cut).pooled)


def test_what_is_fitted_alone_has_no_parameters(build: Build) -> None:
    assert {case for case in CASES if not list(build(case).parameters())} == FITTED


@pytest.mark.parametrize("case", LEARNING)
def test_every_parameter_gets_a_gradient(case: str, build: Build) -> None:
    encoder = copy.deepcopy(build(case)).train()
    score(encoder(rows(kind_of(case)))).backward()
    learning = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    assert [name for name, p in learning.items() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in learning.values())
    assert {name for name, p in encoder.named_parameters() if not p.requires_grad} <= {"net.embed_positions.weight"}


@pytest.mark.parametrize("case", LEARNING)
def test_a_step_down_the_gradient_lowers_the_loss(case: str, build: Build) -> None:
    encoder, x = copy.deepcopy(build(case)), take(rows(kind_of(case)), [0, 1])
    before = score(encoder(x))
    before.backward()
    learning = [p for p in encoder.parameters() if p.requires_grad]
    length = nn.utils.get_total_norm([p.grad for p in learning])
    with torch.no_grad():
        for p in learning:
            p -= p.grad / length * 1e-3
        assert score(encoder(x)) < before


@pytest.mark.parametrize("case", CASES)
def test_loaded_equals_saved(case: str, build: Build) -> None:
    encoder, x = build(case), rows(kind_of(case))
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        for value in other.state_dict().values():
            value.add_(0.1 if value.is_floating_point() else 0)
        assert not torch.equal(encoder(x).pooled, other(x).pooled)
        other.load_state_dict(encoder.state_dict())
        assert torch.equal(encoder(x).pooled, other(x).pooled)


OWN = [name for name, node in NODES.items() if "pretrained" not in node]


@pytest.mark.filterwarnings("ignore:The tensor attributes")
@pytest.mark.parametrize("case", OWN)
def test_own_encoders_export_for_any_number_of_rows(case: str, build: Build) -> None:
    encoder, x = build(case), rows(kind_of(case))
    sizes = tree_map(lambda _: {0: torch.export.Dim("batch")}, x)
    exported = torch.export.export(encoder, (x,), dynamic_shapes=(sizes,)).module()
    more = take(x, [1, 0, 1, 2, 0])
    with torch.no_grad():
        close(exported(more).pooled, encoder(more).pooled)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("text/gru", {"cell": "rnn"}, "cell='rnn': a recurrent encoder has gru or lstm cells"),
        ("text/gru", {"dim": 33}, "dim=33: half of it is read backwards, so it must be even; or bidirectional=false"),
        ("text/transformer", {"num_heads": 3}, "dim=128: cannot be divided among num_heads=3"),
        (
            "image/cnn",
            {"channels": [8, 16]},
            "channels=[8, 16] and kernels=[3, 3, 3]: give each block one of both",
        ),
        (
            "series/cnn1d",
            {"kernels": [3]},
            "channels=[32, 64, 128] and kernels=[3]: give each block one of both",
        ),
        ("image/lenet", {"kernels": [5, 4, 3, 3]}, "kernels=[5, 4, 3, 3]: they have a middle only where they are odd"),
        ("audio/mfcc", {"mel_scale": "bark"}, "mel_scale='bark': mel scales are htk and slaney"),
        (
            "audio/logmel_cnn",
            {"normalize": "all"},
            "normalize='all': a spectrogram is normalised fixed or by clip",
        ),
    ],
)
def test_what_cannot_be_built_is_said(name: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        instantiate({**NODES[name], **change}, "encoder.it", FACTS[kind_of(name)], drop=("preprocess",))
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["tabular/mlp", "tabular/ft_transformer"])
@pytest.mark.parametrize(("num_numeric", "cardinalities"), [(3, []), (0, [4, 6])])
def test_tables_may_be_all_numbers_or_all_categories(name: str, num_numeric: int, cardinalities: list[int]) -> None:
    metadata = {"num_numeric": num_numeric, "cardinalities": cardinalities}
    encoder = instantiate(NODES[name], "encoder.it", metadata, drop=("preprocess",))
    whole = rows("tabular")
    x = {key: whole[key][:, :num_numeric] for key in ("numeric", "missing")}
    x["categorical"] = whole["categorical"][:, : len(cardinalities)]
    features = encoder(x)
    score(features).backward()
    assert features.pooled.isfinite().all()
    assert all(p.grad is not None for p in encoder.parameters() if p.numel())


def test_own_encoders_import_no_library() -> None:
    names = ("image", "text", "audio", "tabular", "series", "classical")
    families = ", ".join(f"mmrun.models.encoders.{name}" for name in names)
    heavy = "{'timm', 'transformers', 'torchvision', 'huggingface_hub', 'omegaconf', 'sklearn', 'scipy'}"
    code = f"import sys, {families}; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
