import math

import pytest
import torch

from mmrun.objectives.augmentations.audio import AugmentAudio, mask_frequencies, shift_pitch

RATE = 8000


def build_tone(hertz, rows=1, seconds=1.0, loudness=0.3):
    time = torch.arange(int(RATE * seconds)) / RATE
    waveform = (loudness * torch.sin(2 * math.pi * hertz * time)).expand(rows, -1)
    return {"waveform": waveform, "length": torch.full((rows,), len(time))}


def find_pitch(waveform):
    """Return the loudest frequency of each clip, in Hz."""
    return torch.fft.rfft(waveform).abs().argmax(1) * RATE / waveform.shape[1]


def measure_loudness(waveform):
    return waveform.square().mean(1).sqrt()


def test_a_sound_moves_within_its_length():
    torch.manual_seed(0)
    waveform = torch.zeros(200, 20)
    waveform[:, 4] = 0.5
    moved = AugmentAudio(shift=0.3)({"waveform": waveform, "length": torch.full((200,), 10)})["waveform"]
    assert set(moved.argmax(1).tolist()) == {1, 2, 3, 4, 5, 6, 7}
    assert moved.sum(1).tolist() == [0.5] * 200


def test_what_leaves_a_sound_does_not_come_back_and_its_volume_is_its_own():
    torch.manual_seed(0)
    x = {"waveform": torch.full((500, 10), 0.1), "length": torch.full((500,), 10)}
    gone = AugmentAudio(shift=1.0)(x)["waveform"]
    assert gone.unique().tolist() == pytest.approx([0.0, 0.1])
    assert (gone == 0).any(1).float().mean() > 0.9
    loud = AugmentAudio(gain=6.0)(x)["waveform"]
    assert loud.std(1).max() < 1e-6
    assert (loud.min().item(), loud.max().item()) == pytest.approx((0.0501, 0.1995), rel=0.01)


def test_noise_is_as_far_below_the_sound_as_it_says():
    torch.manual_seed(0)
    x = {"waveform": 0.1 * torch.randn(200, 2000), "length": torch.full((200,), 2000)}
    noise = AugmentAudio(snr=20.0)(x)["waveform"] - x["waveform"]
    ratio = noise.std(1) / x["waveform"].std(1)
    assert ratio.max() == pytest.approx(0.1, abs=0.01)
    assert ratio.mean() == pytest.approx(0.05, abs=0.01)
    silence = {"waveform": torch.zeros(2, 50), "length": torch.tensor([50, 0])}
    assert not AugmentAudio(0.1, 3.0, 20.0)(silence)["waveform"].any()


def test_a_faster_sound_is_shorter_and_higher():
    torch.manual_seed(0)
    x = build_tone(440, rows=200)
    changed = AugmentAudio(speed=0.2)(x)
    factor = 8000 / changed["length"]
    assert factor.max().item() == pytest.approx(1.2, abs=0.01)
    fast = factor > 1.05
    expected = 440 * factor[fast]
    assert (find_pitch(changed["waveform"][fast]) - expected).abs().max() < 3
    assert changed["length"].max().item() == 8000  # a slower one is cut
    assert changed["waveform"].shape == (200, 8000)


def test_the_pitch_changes_and_the_length_does_not():
    torch.manual_seed(0)
    x = build_tone(440, rows=30)
    shifted = AugmentAudio(pitch=4.0, sample_rate=RATE)(x)
    assert shifted["length"].equal(x["length"])
    semitones = 12 * torch.log2(find_pitch(shifted["waveform"]) / 440)
    assert (semitones.min().item(), semitones.max().item()) == pytest.approx((-4, 4), abs=0.4)
    assert measure_loudness(shifted["waveform"]).tolist() == pytest.approx([0.212] * 30, rel=0.25)


def test_without_a_change_the_spectrum_gives_the_sound_back():
    waveform = 0.1 * torch.randn(2, 3000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(mask_frequencies(waveform, 0.0, RATE), waveform, atol=1e-5)
    assert torch.allclose(shift_pitch(waveform, 0.0, RATE), waveform, atol=1e-5)


def test_an_echo_follows_the_sound_at_the_same_loudness():
    torch.manual_seed(0)
    click = torch.zeros(50, 4000)
    click[:, 1000] = 0.5
    x = {"waveform": click, "length": torch.full((50,), 4000)}
    echoed = AugmentAudio(reverb=0.2, sample_rate=RATE)(x)["waveform"]
    assert not echoed[:, :1000].round(decimals=6).any()  # nothing before it
    assert echoed[:, 1001:].square().sum(1).max() > 0.05
    assert echoed[:, 3000:].square().sum(1).max() < 1e-5  # after 0.25 s it has died away
    assert echoed.square().sum(1).tolist() == pytest.approx([0.25] * 50, rel=1e-3)


def test_two_spans_of_time_are_silenced():
    torch.manual_seed(0)
    x = {"waveform": torch.full((300, 100), 0.5), "length": torch.full((300,), 50)}
    silent = AugmentAudio(time_mask=0.2)(x)["waveform"][:, :50] == 0
    assert silent.sum(1).max().item() in (18, 19, 20)
    assert silent.any(0).all()
    assert (silent.int().diff(dim=1) == 1).sum(1).max().item() == 2


def test_bands_of_frequency_are_silenced_and_others_stay():
    torch.manual_seed(0)
    tone = build_tone(1000, rows=200)
    before, after = measure_loudness(tone["waveform"]), measure_loudness(mask_frequencies(tone["waveform"], 0.3, RATE))
    share = after / before
    is_masked = share < 0.1
    assert 0.1 < is_masked.float().mean().item() < 0.5
    assert (share > 0.9).float().mean().item() > 0.4
    assert measure_loudness(mask_frequencies(tone["waveform"], 0.0, RATE)).tolist() == pytest.approx(before.tolist())
