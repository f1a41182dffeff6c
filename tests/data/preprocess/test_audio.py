"""Sounds: how much of them is read."""

import numpy as np
import soundfile

from mmrun.data.preprocess.audio import Waveform
from mmrun.data.table import Column


def test_three_seconds_of_silence_before_a_tone_are_no_reason_to_miss_it(tmp_path):
    """At a fixed second all such clips were silent."""
    silence, tone = np.zeros(24000), 0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / 8000)
    soundfile.write(tmp_path / "late.wav", np.concatenate([silence, tone]), 8000)
    waveform = Waveform(8000)
    waveform.fit(Column("audio", [tmp_path / "late.wav", None]), np.array([0, 1]))
    decoded = waveform.decode(tmp_path / "late.wav")
    assert decoded["length"] == 28000
    assert abs(decoded["waveform"]).max() > 16000
    assert waveform.metadata == {"sample_rate": 8000, "num_samples": 28000}
    assert waveform.notes == ["3.5 s are read: none of 1 rows is cut (the longest has 3.5 s)"]


def test_the_duration_is_that_of_the_training_rows():
    clips = [(np.ones(800 * tenths, dtype=np.int16), 8000) for tenths in (12, 14, 300)]
    waveform = Waveform(8000)
    waveform.fit(Column("audio", clips), np.array([0, 1]))
    assert (waveform.seconds, waveform.num_samples) == (1.4, 11200)
    assert waveform.notes == [
        "the first 1.4 s are read: 33.3% of 3 rows are cut (the longest has 30 s); "
        "preprocess.seconds sets another length"
    ]
    waveform.fit(Column("audio", clips), np.array([2]))
    assert waveform.seconds == 10.0  # no more


def test_a_given_duration_stays_and_short_clips_get_a_second():
    clips = [(np.ones(4000, dtype=np.int16), 8000)]
    for waveform, seconds in ((Waveform(8000, 0.25), 0.25), (Waveform(8000), 1.0)):
        waveform.fit(Column("audio", clips), np.array([0]))
        assert waveform.state() == {"sample_rate": 8000, "seconds": seconds}


def test_a_damaged_file_is_left_to_the_decoding(media):
    waveform = Waveform(8000)
    waveform.fit(Column("audio", [media / "note.txt", media / "tone.wav"]), np.array([0, 1]))
    assert waveform.seconds == 1.0
