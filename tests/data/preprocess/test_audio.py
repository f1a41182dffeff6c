"""Sounds: how much of them is read."""

import numpy as np
import pytest
import soundfile

from mmrun.data.preprocess.audio import Waveform
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError


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


@pytest.mark.parametrize(
    ("waveform", "samples", "seconds"),
    [(Waveform(8000, 0.25), 4000, 0.25), (Waveform(8000), 4000, 0.5), (Waveform(8000), 80, 0.1)],
)
def test_a_given_duration_stays_and_others_are_no_longer_than_the_clips(waveform, samples, seconds):
    clips = [(np.ones(samples, dtype=np.int16), 8000)]
    waveform.fit(Column("audio", clips), np.array([0]))
    assert waveform.state() == {"sample_rate": 8000, "seconds": seconds}


def test_a_damaged_file_is_left_to_the_decoding(media):
    waveform = Waveform(8000)
    waveform.fit(Column("audio", [media / "note.txt", media / "tone.wav"]), np.array([0, 1]))
    assert waveform.seconds == 1.0


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_audio_of_every_format(media, suffix):
    decoded = Waveform(8000, 1.0).decode(media / f"tone.{suffix}")
    assert (decoded["waveform"].dtype, decoded["waveform"].shape) == (np.int16, (8000,))
    assert decoded["length"] == 8000
    spectrum = np.abs(np.fft.rfft(decoded["waveform"][2000:6000].astype(float)))
    assert spectrum.argmax() * 2 == 440
    assert abs(np.abs(decoded["waveform"].astype(int)).max() - 16384) < 1600  # of a half; MP3 rings at the ends


def test_audio_is_cut_padded_mixed_and_resampled(media):
    short = Waveform(8000, 1.5).decode(media / "tone.wav")
    assert short["length"] == 8000
    assert (short["waveform"][8000:] == 0).all()
    assert Waveform(8000, 0.25).decode(media / "tone.wav")["length"] == 2000
    mixed = Waveform(8000, 1.0).decode(media / "stereo.wav")["waveform"].astype(int)
    assert abs(mixed.max() - 8192) < 3
    faster = Waveform(16000, 1.0).decode(media / "tone.wav")
    assert faster["length"] == 16000
    assert np.abs(np.fft.rfft(faster["waveform"].astype(float))).argmax() == 440


def test_sixteen_bit_samples_are_unchanged(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32768, 500).astype(np.int16)
    soundfile.write(tmp_path / "exact.wav", samples, 8000)
    waveform = Waveform(8000, 0.0625)
    assert waveform.metadata == {"sample_rate": 8000, "num_samples": 500}
    assert (waveform.decode(tmp_path / "exact.wav")["waveform"] == samples).all()
    assert (waveform.decode((samples, 8000))["waveform"] == samples).all()
    assert (waveform.decode((samples / 32768, 8000))["waveform"] == samples).all()


def test_damaged_and_empty_audio(media):
    with pytest.raises(DataError) as error:
        Waveform(8000, 1.0).decode(media / "note.txt")
    assert str(error.value) == "note.txt is damaged or not an audio file (LibsndfileError)"
    soundfile.write(media / "silent.wav", np.zeros(0), 8000)
    with pytest.raises(DataError) as error:
        Waveform(8000, 1.0).decode(media / "silent.wav")
    assert str(error.value) == "silent.wav contains no audio (0 samples)"


def tone(seconds, level=0.5, rate=8000):
    return level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


def test_silence_at_both_ends_is_trimmed_before_the_length_is_chosen():
    silence = np.zeros(16000)
    sound = np.concatenate([silence, tone(1.5), silence])
    waveform = Waveform(8000, trim_db=40.0)
    waveform.fit(Column("audio", [(sound, 8000), (np.zeros(800), 8000)]), np.array([0, 1]))
    assert waveform.seconds == 1.5
    assert waveform.notes == [
        "1.5 s are read: none of 2 rows is cut (the longest has 1.5 s)",
        "both ends are trimmed where they are 40 dB quieter than the loudest 20 ms",
    ]
    decoded = waveform.decode((sound, 8000))
    assert decoded["length"] == 12000
    assert abs(decoded["waveform"][:100]).max() > 16000
    assert waveform.decode((np.zeros(800), 8000))["length"] == 800  # a silent sound has no end to trim


@pytest.mark.parametrize("loudness", ["rms", "lufs"])
def test_quiet_and_loud_recordings_become_equally_loud(loudness):
    waveform = Waveform(8000, 1.0, loudness=loudness, level=-20.0)
    quiet, loud = (waveform.decode((tone(1.0, level), 8000))["waveform"] for level in (0.01, 0.9))
    assert abs(quiet - loud).max() <= 1
    assert abs(loud).max() == pytest.approx(32768 * 2**0.5 * 0.1, rel=0.1)


def test_no_peak_is_clipped_to_reach_a_level():
    click = np.zeros(8000)
    click[4000] = 0.5
    waveform = Waveform(8000, 1.0, loudness="rms", level=-10.0)
    assert abs(waveform.decode((click, 8000))["waveform"].astype(int)).max() == 32767
    assert not waveform.decode((np.zeros(8000), 8000))["waveform"].any()


@pytest.mark.parametrize(("mono", "level"), [("mean", 0.375), ("left", 0.5), ("right", 0.25)])
def test_one_of_two_channels_can_be_read(mono, level):
    stereo = np.stack([np.full(800, 0.5), np.full(800, 0.25)], axis=1)
    waveform = Waveform(8000, 0.1, mono=mono)
    assert (waveform.decode((stereo, 8000))["waveform"] == 32768 * level).all()
    assert (waveform.decode((stereo[:, :1], 8000))["waveform"] == 16384).all()


def test_lufs_need_a_rate_above_that_of_the_filters():
    with pytest.raises(ConfigError) as error:
        Waveform(2000, loudness="lufs")
    assert str(error.value) == "preprocess.loudness: lufs needs a sample_rate of at least 4,000 Hz; set it to rms"
