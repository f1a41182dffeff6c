import pytest
import torch

from mmrun.objectives.masked_spectrogram import MaskedSpectrogram
from mmrun.testing.examples import DIM
from mmrun.types import Features
from tests.objectives.single import PRESENT, Fixed


def build_audio():
    return {"waveform": torch.rand(50, 1600) + 1, "length": torch.full((50,), 1600)}


def test_masked_spectrogram_silences_whole_spans():
    pretext = MaskedSpectrogram(DIM, 8000, 1600, ratio=0.4, spans=16, n_mels=8, hop_length=16, max_frames=64)
    x = build_audio()
    corrupted, target = pretext.corrupt(x, PRESENT)
    silent = (corrupted["waveform"] == 0).unflatten(1, (16, 100))
    assert torch.equal(silent.all(-1), silent.any(-1))
    assert silent.float().mean().item() == pytest.approx(0.4, abs=0.06)
    assert torch.equal(target["hidden"], silent.any(-1).repeat_interleave(4, 1))  # four frames a span
    assert target["waveform"] is x["waveform"]


def test_masked_spectrogram_counts_silenced_frames_only():
    pretext = MaskedSpectrogram(DIM, 8000, 1600, n_mels=8)
    _, target = pretext.corrupt(build_audio(), PRESENT)
    decoded = torch.zeros(50, 1, *pretext.size)
    pretext.decoder = Fixed(decoded)
    before = pretext.loss(Features(torch.zeros(50, DIM)), target)
    decoded[(~target["hidden"])[:, None, None].expand_as(decoded)] = 1000.0
    after = pretext.loss(Features(torch.zeros(50, DIM)), target)
    assert before.tolist() == after.tolist()
    assert (before > 0).all()


def test_masked_spectrogram_silences_sound_and_not_padding():
    pretext = MaskedSpectrogram(DIM, 8000, 1600, ratio=0.01, n_mels=8)
    x = {"waveform": torch.randn(20, 1600), "length": torch.tensor([1600, 200] * 10)}
    _, target = pretext.corrupt(x, PRESENT)
    assert target["hidden"].any(1).all()  # one frame at least, in short clips as well
    assert not target["hidden"][1::2, pretext.size[1] // 8 + 1 :].any()


def test_the_target_is_standardised_by_the_frames_that_are_no_padding():
    pretext = MaskedSpectrogram(DIM, 8000, 1600, ratio=1.0, n_mels=8)
    x = {"waveform": torch.randn(2, 1600), "length": torch.tensor([1600, 800])}
    _, target = pretext.corrupt(x, PRESENT)  # everything is silenced
    pretext.decoder = Fixed(torch.zeros(2, 1, *pretext.size))
    loss = pretext.loss(Features(torch.zeros(2, DIM)), target)
    assert loss.tolist() == pytest.approx([1.0, 1.0], abs=0.01)  # the variance
