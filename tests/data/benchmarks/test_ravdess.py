"""RAVDESS: the rows of a tiny folder of its layout, and what is wrong with others."""

import pytest

from mmrun.errors import DataError
from tests.data.benchmarks.layouts import prepare, write_sound


def test_rows(tmp_path):
    prepared = prepare("ravdess", tmp_path)
    assert len(prepared.rows) == 12
    assert prepared.rows[2] == {
        "id": "03-01-06-01-02-01-01",
        "audio": "Audio_Speech_Actors_01-24/Actor_01/03-01-06-01-02-01-01.wav",
        "image": "Video_Speech_Actor_01/Actor_01/01-01-06-01-02-01-01.jpg",
        "emotion": "fearful",
        "speaker": "01",
        "intensity": "normal",
        "statement": "02",
        "sex": "male",
    }
    assert prepared.source.left_out == {"songs or sound tracks of videos": 1}


def test_a_file_with_another_name_is_refused(tmp_path):
    def add(folder):
        write_sound(folder / "Actor_01" / "03-01-09-01-02-01-01.wav", 0)

    with pytest.raises(DataError, match=r"03-01-09-01-02-01-01\.wav: is not named like 03-01-06-01-02-01-12\.wav"):
        prepare("ravdess", tmp_path, add)
