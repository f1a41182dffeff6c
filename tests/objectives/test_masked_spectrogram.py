import pytest
import torch

from mmrun.objectives.masked_spectrogram import MaskedSpectrogram
from mmrun.testing.examples import DIM
from mmrun.types import Features
from tests.objectives.single import PRESENT, Fixed


def test_masked_spectrogram_silences_whole_spans():
    x = {"waveform": torch.rand(50, 160) + 1, "length": torch.full((50,), 160)}
    corrupted, target = MaskedSpectrogram(DIM, 8000, 160, ratio=0.4, spans=16, n_mels=8).corrupt(x, PRESENT)
    silent = (corrupted["waveform"] == 0).unflatten(1, (16, 10))
    assert torch.equal(silent.all(-1), silent.any(-1))
    assert silent.float().mean().item() == pytest.approx(0.4, abs=0.06)
    assert target is x


def test_masked_spectrogram_counts_sound_and_not_padding():
    pretext = MaskedSpectrogram(DIM, 8000, 1600, n_mels=8)
    target = {"waveform": torch.randn(2, 1600), "length": torch.tensor([1600, 800])}
    decoded = torch.zeros(2, 1, *pretext.size)
    pretext.decoder = Fixed(decoded)
    before = pretext.loss(Features(torch.zeros(2, DIM)), target)
    decoded[1, :, :, pretext.size[1] // 2 + 1 :] = 1000.0  # beyond the second clip's end
    after = pretext.loss(Features(torch.zeros(2, DIM)), target)
    assert before.tolist() == after.tolist()
    assert before.tolist() == pytest.approx([1.0, 1.0], abs=0.01)  # of a standardised target, predicted as its mean
