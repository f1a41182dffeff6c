"""Weights from files, folders and the hub are loaded exactly, or rejected early with an error that helps."""

import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import create_server
from threading import Thread
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from mmrun import hub as hub_module
from mmrun.errors import ConfigError
from mmrun.models.encoders.hf import HfImage, HfText
from mmrun.models.encoders.hf_audio import hf_audio
from mmrun.models.encoders.timm import Timm

Tiny = Callable[[str], str]
SMALL = {"in_channels": 3, "image_size": 32}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that sets the address of the hub; the test counts as online."""
    hub_module.is_hub_reachable.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_module, "TIMEOUT", 0.3)
    yield lambda address: monkeypatch.setattr(constants, "ENDPOINT", address)
    hub_module.is_hub_reachable.cache_clear()


def test_a_hub_that_does_not_answer_is_given_up_soon(hub: Callable[[str], None]) -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        hub(f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        assert hub_module.is_hub_reachable() is False
        assert time.monotonic() - began < 3


def test_without_a_hub_timm_says_what_to_do(hub: Callable[[str], None]) -> None:
    hub("http://127.0.0.1:9")  # no server listens there
    with pytest.raises(ConfigError) as caught:
        Timm("resnet18", **SMALL, pretrained=True)
    assert str(caught.value) == (
        "weights for resnet18 are not cached and the hub cannot be reached; "
        "pass pretrained=false, or pretrained=<a file of weights>"
    )


def test_offline_transformers_say_what_to_do() -> None:
    for build in (lambda: HfText("nobody/nothing", 60, 12), lambda: hf_audio("nobody/nothing", 16000, 16000)):
        with pytest.raises(ConfigError) as caught:
            build()
        assert str(caught.value) == (
            "weights for nobody/nothing are not cached and the hub cannot be reached; "
            "pass model=<a local folder> (with pretrained=false its config.json is enough)"
        )


def test_a_hub_that_answers_is_asked_once(hub: Callable[[str], None]) -> None:
    requested_paths = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            requested_paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        hub(f"http://127.0.0.1:{server.server_port}")
        assert [hub_module.is_hub_reachable(), hub_module.is_hub_reachable()] == [True, True]
        server.shutdown()
    assert requested_paths == ["/"]


def test_only_what_is_not_cached_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def load(local_only: bool) -> str:
        calls.append(local_only)
        if local_only:
            raise OSError("not in the cache")
        return "weights"

    monkeypatch.setattr(hub_module, "is_hub_reachable", lambda: True)
    assert hub_module.fetch(load, "tiny", "pass a folder") == "weights"
    assert hub_module.fetch(lambda local_only: local_only, "tiny", "pass a folder") is True
    assert calls == [True, False]

    def refuse(local_only: bool) -> str:
        raise OSError("no such repository\nand ten more lines")

    with pytest.raises(ConfigError) as caught:
        hub_module.fetch(refuse, "tiny", "pass a folder")
    assert str(caught.value) == "the hub cannot provide tiny (no such repository); pass a folder"


@pytest.mark.parametrize("num_classes", [0, 7, 1000])
def test_timm_loads_weights_from_a_file(num_classes: int, tmp_path: Path) -> None:
    trained = timm.create_model("resnet18", num_classes=num_classes).eval()
    path = tmp_path / "weights.safetensors"
    save_file(trained.state_dict(), path)
    encoder = Timm("resnet18", **SMALL, pretrained=str(path)).eval()
    pixels = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    expected = trained.forward_features((pixels - mean) / std).mean((2, 3))
    torch.testing.assert_close(encoder(pixels).pooled, expected)


def test_timm_adapts_weights_to_grey_and_to_size(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(), path)
    encoder = Timm("vit_tiny_patch16_224", in_channels=1, image_size=64, pretrained=str(path))
    features = encoder(torch.rand(2, 1, 64, 64))
    assert (features.pooled.shape, features.tokens.shape) == ((2, 192), (2, 17, 192))


class Harmful:
    """An object that runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("harm is done",)


def test_timm_rejects_files_that_are_not_its_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pickled, path = tmp_path / "weights.pth", tmp_path / "weights.safetensors"
    torch.save({"conv1.weight": Harmful()}, pickled)
    assert reject("resnet18", pickled) == (
        "pretrained: weights.pth may be a pickle, which can run code; "
        "save its tensors with safetensors.torch.save_file, and name that file"
    )
    pickled.rename(path)
    assert reject("resnet18", path).startswith("pretrained: weights.safetensors is not a safetensors file (")
    assert "harm" not in capsys.readouterr().out
    save_file(timm.create_model("resnet18").state_dict(), path)
    assert reject("resnet34", path) == "pretrained: the weights in weights.safetensors are not those of timm's resnet34"
    path.unlink()
    assert (
        reject("resnet18", path) == f"pretrained={path}: there is no such file; pass the path of a file, true or false"
    )


def reject(model: str, path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Timm(model, **SMALL, pretrained=str(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnt18", "timm has no model 'resnt18'; did you mean 'resnet18'?"),
        ("resnet18.a9_in1k", "timm has no model 'resnet18.a9_in1k'; did you mean 'resnet18.a3_in1k'?"),
        ("dinosaur!", "timm has no model 'dinosaur!'"),
        (
            "test_vit",
            "test_vit cannot read 8 x 8 pixels (Input height (8) should be divisible by patch size (16).)",
        ),
    ],
)
def test_timm_says_what_it_cannot_build(model: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Timm(model, in_channels=3, image_size=8, pretrained=False)
    assert str(caught.value) == message


def test_transformers_weights_are_loaded_as_they_are(tiny: Tiny) -> None:
    from transformers import BertModel, ViTModel

    ids = torch.randint(5, 60, (2, 12))
    mask = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        expected = BertModel.from_pretrained(tiny("bert")).eval()(ids).last_hidden_state
        torch.testing.assert_close(HfText(tiny("bert"), 60, 12).eval()({"ids": ids, "mask": mask}).tokens, expected)
        pixels = torch.rand(2, 3, 32, 32)
        mean, std = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])[..., None, None]
        vit, encoder = ViTModel.from_pretrained(tiny("vit")).eval(), HfImage(tiny("vit"), **SMALL).eval()
        torch.testing.assert_close(encoder(pixels).tokens, vit((pixels - mean) / std).last_hidden_state)
        grey = pixels[:, :1]
        torch.testing.assert_close(encoder(grey).pooled, encoder(grey.expand(-1, 3, -1, -1)).pooled)


def test_tokens_are_pooled_as_configured(tiny: Tiny) -> None:
    ids, mask = torch.randint(5, 60, (2, 5)), torch.tensor([[True, True, True, False, False], [True] + [False] * 4])
    with torch.no_grad():
        mean, cls, last = (
            HfText(tiny("bert"), 60, 12, pool=pool).eval()({"ids": ids, "mask": mask})
            for pool in ("mean", "cls", "last")
        )
    first, second = mean.tokens
    torch.testing.assert_close(mean.pooled, torch.stack([first[:3].mean(dim=0), second[0]]))
    torch.testing.assert_close(cls.pooled, torch.stack([first[0], second[0]]))
    torch.testing.assert_close(last.pooled, torch.stack([first[2], second[0]]))


def test_random_weights_are_drawn_anew(tiny: Tiny) -> None:
    first, second = (HfText(tiny("bert"), 60, 12, pretrained=False).net.state_dict() for _ in range(2))
    assert list(first) == list(second)
    name = "embeddings.word_embeddings.weight"
    assert not torch.equal(first[name], second[name])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda tiny: HfText(tiny("bert"), 60, 12, pool="max"), "pool='max': choose mean, cls or last"),
        (
            lambda tiny: HfText(tiny("gpt2"), 61, 12),
            "{folder}/gpt2 cannot read 12 tokens of 61; pass preprocess.tokenizer={folder}/gpt2, or fewer max_tokens "
            "(index out of range in self)",
        ),
        (
            lambda tiny: HfText(tiny("gpt2"), 60, 21),
            "{folder}/gpt2 cannot read 21 tokens of 60; pass preprocess.tokenizer={folder}/gpt2, or fewer max_tokens "
            "(index out of range in self)",
        ),
        (
            lambda tiny: HfImage(tiny("vit"), 2, 32),
            "{folder}/vit cannot read 2 x 32 x 32 pixels (The size of tensor a (2) must match the size of tensor b (3) "
            "at non-singleton dimension 1)",
        ),
        (
            lambda tiny: hf_audio(tiny("whisper"), 8000, 8000),
            "{folder}/whisper reads sound at 16000 Hz, not 8000; pass preprocess.sample_rate=16000",
        ),
        (
            lambda tiny: hf_audio(tiny("whisper"), 16000, 16001),
            "{folder}/whisper cannot read 16001 samples (it reads at most 16000)",
        ),
        (
            lambda tiny: hf_audio(tiny("ast"), 16000, 32000),
            "{folder}/ast cannot read 32000 samples (it reads at most 16320)",
        ),
        (
            lambda tiny: hf_audio(tiny("bert"), 16000, 16000, pretrained=False),
            "bert models do not read sound; choose wav2vec 2.0, HuBERT, WavLM or a similar model, Whisper or AST",
        ),
    ],
)
def test_transformers_say_what_they_cannot_read(build: Callable[[Tiny], Any], message: str, tiny: Tiny) -> None:
    folder = Path(tiny("bert")).parent
    with pytest.raises(ConfigError) as caught:
        build(tiny)
    assert str(caught.value) == message.replace("{folder}", str(folder))


def test_weights_without_their_preprocessor_are_rejected(tiny: Tiny) -> None:
    with pytest.raises(ConfigError, match=r"resnet: .*; save the processor of .*resnet beside its weights$"):
        HfImage(tiny("resnet"), **SMALL)


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize("name", ["whisper", "ast"])
def test_spectrograms_are_those_of_the_extractor(name: str, tiny: Tiny) -> None:
    from transformers import AutoFeatureExtractor

    sound = np.random.default_rng(0).normal(size=9000).astype(np.float32) / 8
    expected = next(iter(AutoFeatureExtractor.from_pretrained(tiny(name))(sound, sampling_rate=16000).values()))[0]
    encoder = hf_audio(tiny(name), 16000, 12000)
    waveform = torch.nn.functional.pad(torch.from_numpy(sound)[None], (0, 3000))
    inputs = [waveform] if name == "whisper" else [waveform, torch.tensor([9000])]
    np.testing.assert_allclose(encoder.compute_spectrogram(*inputs)[0].numpy(), expected, atol=2e-4)


def test_wav2vec_reads_what_its_extractor_gives(tiny: Tiny) -> None:
    from transformers import AutoFeatureExtractor, Wav2Vec2Model

    sound = np.random.default_rng(0).normal(size=9000).astype(np.float32) / 8 + 0.1
    extractor = AutoFeatureExtractor.from_pretrained(tiny("wav2vec2"))
    extracted = extractor([sound], sampling_rate=16000, padding="max_length", max_length=12000, return_tensors="pt")
    with torch.no_grad():
        expected = Wav2Vec2Model.from_pretrained(tiny("wav2vec2")).eval()(**extracted).last_hidden_state
        waveform = torch.nn.functional.pad(torch.from_numpy(sound)[None], (0, 3000))
        encoder = hf_audio(tiny("wav2vec2"), 16000, 12000).eval()
        features = encoder({"waveform": waveform, "length": torch.tensor([9000])})
    assert features.mask.sum().item() == 27
    torch.testing.assert_close(features.tokens[0, :27], expected[0, :27], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(features.pooled[0], expected[0, :27].mean(0), atol=1e-4, rtol=1e-3)
