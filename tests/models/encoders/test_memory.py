"""Gradient checkpointing and fused attention save memory and give the same numbers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from mmrun.errors import ConfigError
from mmrun.models.encoders.hf import HfImage, HfText
from mmrun.models.encoders.hf_audio import hf_audio
from mmrun.models.encoders.logmel_timm import LogMelTimm
from mmrun.models.encoders.sequence import Blocks
from mmrun.models.encoders.tabular import FtTransformer
from mmrun.models.encoders.text import Transformer
from mmrun.models.encoders.timm import Timm
from mmrun.types import Encoder

Tiny = Callable[[str], str]
IMAGES = ("vit", "dinov2", "siglip", "clip")
TEXTS = ("bert", "minilm", "roberta", "gpt2", "clip")
SOUNDS = ("wav2vec2", "hubert", "whisper", "ast")
HF = [
    *(f"image/{name}" for name in IMAGES),
    *(f"text/{name}" for name in TEXTS),
    *(f"audio/{name}" for name in SOUNDS),
]
TIMM = ["timm/resnet18", "timm/test_vit", "timm/convnext_atto", "spectrogram/resnet18"]


def build(case: str, tiny: Tiny, grad_checkpointing: bool = False) -> Encoder:
    kind, _, name = case.partition("/")
    options = {"grad_checkpointing": grad_checkpointing}
    if kind == "timm":
        return Timm(name, in_channels=1, image_size=32, pretrained=False, **options)
    if kind == "spectrogram":
        return LogMelTimm(16000, 16000, name, n_mels=32, **options)
    if kind == "image":
        return HfImage(tiny(name), in_channels=3, image_size=32, pretrained=False, **options)
    if kind == "text":
        return HfText(tiny(name), vocab_size=60, max_tokens=12, pretrained=False, **options)
    return hf_audio(tiny(name), sample_rate=16000, num_samples=16000, pretrained=False, **options)


def rows(case: str) -> Any:
    kind, generator = case.partition("/")[0], torch.Generator().manual_seed(1)
    if kind in ("timm", "image"):
        return torch.rand(2, 1, 32, 32, generator=generator)
    if kind == "text":
        mask = torch.arange(12) < torch.tensor([[12], [7]])
        return {"ids": torch.randint(5, 60, (2, 12), generator=generator) * mask, "mask": mask}
    length = torch.tensor([16000, 9000])
    noise = torch.randn(2, 16000, generator=generator) / 8
    return {"waveform": noise * (torch.arange(16000) < length[:, None]), "length": length}


def compute_gradients(encoder: Encoder, x: Any) -> tuple[int, dict[str, Tensor]]:
    """Run a forward and a backward pass; return the number of layer calls and the gradients by name."""
    calls: list[nn.Module] = []
    layers = (nn.Linear, nn.LayerNorm, nn.Conv2d)
    counted = [module for module in encoder.modules() if isinstance(module, layers)]
    hooks = [module.register_forward_hook(lambda module, *_: calls.append(module)) for module in counted]
    torch.manual_seed(2)  # of dropout
    encoder.train()(x).pooled.square().sum().backward()
    for hook in hooks:
        hook.remove()
    return len(calls), {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("case", [*HF, *TIMM])
def test_activations_computed_again_give_the_same_gradients(case: str, tiny: Tiny) -> None:
    plain, checkpointed = build(case, tiny), build(case, tiny, grad_checkpointing=True)
    checkpointed.load_state_dict(plain.state_dict())
    calls, expected = compute_gradients(plain, rows(case))
    checkpointed_calls, gradients = compute_gradients(checkpointed, rows(case))
    assert checkpointed_calls > calls * 1.3
    assert list(gradients) == list(expected)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], msg=lambda text, name=name: f"{name}: {text}")


def test_models_without_gradient_checkpointing_are_rejected(tiny: Tiny) -> None:
    with pytest.raises(ConfigError) as caught:
        Timm("dla46_c", 3, 32, pretrained=False, grad_checkpointing=True)
    assert str(caught.value) == "grad_checkpointing: timm's dla46_c does not support it; pass grad_checkpointing=false"
    with pytest.raises(ConfigError) as caught:
        HfImage(tiny("resnet"), 3, 32, pretrained=False, grad_checkpointing=True)
    assert (
        str(caught.value) == f"grad_checkpointing: {tiny('resnet')} does not support it; pass grad_checkpointing=false"
    )


def record_operations(encoder: nn.Module, *x: Any) -> set[str]:
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        encoder.train()(*x)
    return {event.key for event in trace.key_averages()}


@pytest.mark.parametrize("case", [*HF, "timm/test_vit"])
def test_library_models_use_scaled_dot_product_attention(case: str, tiny: Tiny) -> None:
    assert "aten::scaled_dot_product_attention" in record_operations(build(case, tiny), rows(case))


def test_transformers_trained_from_scratch_use_scaled_dot_product_attention() -> None:
    text = rows("text/own")
    table = {"numeric": torch.zeros(2, 3), "missing": torch.zeros(2, 3, dtype=torch.bool)}
    table["categorical"] = torch.zeros(2, 0, dtype=torch.int64)
    for recorded in (
        record_operations(Transformer(60, 12, 0), text),
        record_operations(FtTransformer(3, []), table),
        record_operations(Blocks(8, 1, 2, 2.0, 0.1), torch.zeros(2, 5, 8), torch.ones(2, 5, dtype=torch.bool)),
    ):
        assert "aten::scaled_dot_product_attention" in recorded
