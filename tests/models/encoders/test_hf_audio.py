"""Audio models of transformers read what their extractors give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from mmrun.data.length_groups import crop_parts
from mmrun.errors import ConfigError
from mmrun.models.encoders.hf_audio import hf_audio
from mmrun.testing.encoders import check_padding

Tiny = Callable[[str], str]


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


def test_padding_is_ignored_where_the_model_masks_it(tiny: Tiny, tmp_path: Path) -> None:
    encoder = hf_audio(tiny("wav2vec2"), 16000, 16000).eval()
    assert encoder.ignores_padding
    check_padding(encoder)
    empty = {"waveform": torch.zeros(2, 16000), "length": torch.tensor([0, 399])}  # shorter than a step
    with torch.no_grad():
        torch.testing.assert_close(encoder(crop_parts(empty, 1600)).pooled, encoder(empty).pooled)
    config = AutoConfig.from_pretrained(tiny("wav2vec2"), feat_extract_norm="group")
    config.save_pretrained(tmp_path)
    assert not hf_audio(str(tmp_path), 16000, 16000, pretrained=False).ignores_padding


@pytest.mark.parametrize(
    ("build", "message"),
    [
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
def test_sounds_that_a_model_cannot_read(build: Callable[[Tiny], Any], message: str, tiny: Tiny) -> None:
    folder = Path(tiny("bert")).parent
    with pytest.raises(ConfigError) as caught:
        build(tiny)
    assert str(caught.value) == message.replace("{folder}", str(folder))
