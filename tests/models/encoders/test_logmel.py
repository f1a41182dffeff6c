"""Log-mel spectrograms and cepstral coefficients, compared with other implementations."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dct
from torch import Tensor

from mmrun.models.encoders.logmel import Cepstrum, LogMel, build_mel_filters


def tone(hertz: float, level: float = 1.0, rate: int = 8000) -> Tensor:  # [1, S], one second
    return level * torch.sin(2 * math.pi * hertz * torch.arange(rate) / rate).unsqueeze(0)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_filters_are_those_of_transformers(scale: str) -> None:
    from transformers.audio_utils import mel_filter_bank

    expected = mel_filter_bank(201, 40, 0.0, 8000.0, 16000, mel_scale=scale)
    np.testing.assert_allclose(build_mel_filters(16000, 400, 40, scale).T.numpy(), expected, atol=1e-6)


def test_no_default_filter_is_empty() -> None:
    assert build_mel_filters(8000, 256, 64, "slaney").amax(dim=1).min() > 0.2


def test_spectrogram_is_that_of_transformers() -> None:
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    noise = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0)) / 4
    window = window_function(256, "hann")
    bank = mel_filter_bank(129, 64, 0.0, 4000.0, 8000, mel_scale="slaney")
    power = spectrogram(
        noise[0].numpy(), window, 256, 128, power=2.0, mel_filters=bank, log_mel="log", mel_floor=1e-8 * 128**2
    )
    expected = (power - 2 * math.log(128) + 11) / 2.5
    np.testing.assert_allclose(LogMel(8000)(noise)[0].numpy(), expected, atol=1e-4)


def test_a_full_scale_tone_is_six_decibels_below_the_reference() -> None:
    logmel = LogMel(8000)(tone(1000))  # [1, 64, 63]
    assert logmel.shape == (1, 64, 63)
    loudest = logmel[0, :, 30].argmax()
    assert build_mel_filters(8000, 256, 64, "slaney")[loudest, 32] == pytest.approx(1.0, abs=0.5)  # bin 32 is 1 kHz
    assert logmel.max().item() * 2.5 - 11 == pytest.approx(math.log(0.25), abs=0.5)
    assert LogMel(8000)(torch.zeros(1, 8000)).unique().item() == pytest.approx((math.log(1e-8) + 11) / 2.5)


def test_normalised_by_clip_the_level_does_not_matter() -> None:
    tones = tone(440) + tone(1900, 0.1)
    by_clip, fixed = LogMel(8000, normalize="clip"), LogMel(8000)
    torch.testing.assert_close(by_clip(tones), by_clip(tones / 4), atol=1e-3, rtol=0)
    assert not torch.allclose(fixed(tones), fixed(tones / 4), atol=0.1)
    assert by_clip(torch.zeros(1, 8000)).isfinite().all()


def test_there_are_no_parameters_and_no_saved_buffers() -> None:
    logmel = LogMel(8000)
    assert list(logmel.state_dict()) == list(logmel.parameters()) == list(Cepstrum(64, 20).state_dict()) == []


def test_precision_of_the_run_does_not_matter() -> None:
    logmel, sound = LogMel(8000), tone(700, 1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        in_bfloat16 = logmel(sound)
    assert torch.equal(in_bfloat16, logmel(sound))


def test_cepstrum_is_the_cosine_transform() -> None:
    frames = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(0))
    expected = dct(frames.numpy(), axis=1, norm="ortho")[:, :13]
    np.testing.assert_allclose(Cepstrum(40, 13)(frames).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(256, 128), (400, 160)])
def test_a_convolution_computes_the_spectrogram_without_complex_numbers(n_fft: int, hop_length: int) -> None:
    logmel = LogMel(8000, 32, n_fft, hop_length)
    waveform = torch.sin(torch.arange(4000) * 0.3).repeat(2, 1) * torch.tensor([[0.5], [0.01]])
    expected = logmel(waveform)
    logmel.waves = logmel.build_waves()
    torch.testing.assert_close(logmel(waveform), expected, atol=1e-4, rtol=1e-4)
