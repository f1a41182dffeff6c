"""Models of transformers: weights are loaded exactly, or rejected early with an error that helps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.models.encoders.hf import HfImage, HfText
from mmrun.models.encoders.hf_audio import hf_audio

Tiny = Callable[[str], str]
SMALL = {"in_channels": 3, "image_size": 32}


def test_offline_transformers_say_what_to_do() -> None:
    for build in (lambda: HfText("nobody/nothing", 60, 12), lambda: hf_audio("nobody/nothing", 16000, 16000)):
        with pytest.raises(ConfigError) as caught:
            build()
        assert str(caught.value) == (
            "weights for nobody/nothing are not cached and the hub cannot be reached; "
            "pass model=<a local folder> (with pretrained=false its config.json is enough)"
        )


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
