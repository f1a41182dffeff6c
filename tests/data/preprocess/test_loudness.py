"""Loudness: the reference tone of the standard."""

import math

import numpy as np
import pytest

from mmrun.data.preprocess.loudness import measure_lufs, measure_rms, trim_silence


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_a_full_scale_tone_of_997_hz_has_minus_3_lufs(rate):
    tone = np.sin(2 * np.pi * 997 * np.arange(3 * rate) / rate)
    assert measure_lufs(tone, rate) == pytest.approx(-3.01, abs=0.05)
    assert measure_rms(tone) == pytest.approx(-3.01, abs=0.01)


def test_pauses_do_not_make_a_sound_quieter():
    tone = np.sin(2 * np.pi * 997 * np.arange(16000) / 8000)
    with_pause = np.concatenate([tone, np.zeros(80000), tone])
    assert measure_lufs(with_pause, 8000) == pytest.approx(measure_lufs(tone, 8000), abs=0.6)
    assert measure_rms(with_pause) < measure_rms(tone) - 4


def test_silence_has_no_loudness():
    assert measure_lufs(np.zeros(8000), 8000) == -math.inf
    assert measure_rms(np.zeros(0)) == -math.inf


def test_pauses_inside_a_sound_stay():
    sound = np.concatenate([np.zeros(800), np.ones(160), np.zeros(1600), np.ones(160), np.zeros(800)])
    assert len(trim_silence(sound, 8000, 30.0)) == 1920
