"""CREMA-D: the rows of a tiny folder of its layout, and what is wrong with others."""

import shutil

import pytest

from mmrun.errors import DataError
from tests.data.benchmarks.layouts import prepare, write_image


def test_rows(tmp_path):
    rows = prepare("crema_d", tmp_path).rows
    assert len(rows) == 12
    assert rows[0] == {
        "id": "1001_DFA_ANG_XX",
        "audio": "AudioWAV/1001_DFA_ANG_XX.wav",
        "image": "VideoFlash/1001_DFA_ANG_XX.jpg",
        "emotion": "anger",
        "speaker": "1001",
        "sentence": "DFA",
        "level": "unspecified",
        "age": "30",
        "sex": "male",
    }


def test_without_frames_a_note_has_the_command_that_extracts_them(tmp_path):
    prepared = prepare("crema_d", tmp_path, lambda folder: shutil.rmtree(folder / "VideoFlash"))
    assert "image" not in prepared.rows[0]
    assert prepared.source.notes == [
        "no frames are there, so there is no column image; to add it, extract them: "
        f"find {tmp_path}/crema_d -name '*.flv' -exec sh -c 'ffmpeg -nostdin -v error -n -i \"$1\" -vf thumbnail "
        '-frames:v 1 "${1%.*}.jpg"\' _ {} \\;'
    ]


def test_of_a_folder_of_frames_the_middle_one_is_taken(tmp_path):
    def extract(folder):
        for number in range(5):
            write_image(folder / "Image-01-FPS" / "1001_DFA_ANG_XX" / f"{number}.jpg", number)
        shutil.rmtree(folder / "VideoFlash")

    prepared = prepare("crema_d", tmp_path, extract, allow_missing=True)
    assert prepared.rows[0]["image"] == "Image-01-FPS/1001_DFA_ANG_XX/2.jpg"
    assert prepared.rows[1]["image"] is None
    assert prepared.source.missing["image"][0] == "Image-01-FPS/1001_DFA_HAP_XX.jpg"


def test_a_sound_that_the_list_names_is_missing(tmp_path):
    def remove(folder):
        (folder / "AudioWAV" / "1002_DFA_ANG_XX.wav").unlink()

    assert prepare("crema_d", tmp_path, remove).source.missing == {"audio": ["AudioWAV/1002_DFA_ANG_XX.wav"]}


def test_without_the_list_all_sounds_are_taken(tmp_path):
    prepared = prepare("crema_d", tmp_path, lambda folder: (folder / "SentenceFilenames.csv").unlink())
    assert len(prepared.rows) == 12
    assert prepared.source.notes == ["without SentenceFilenames.csv, clips that are missing cannot be noticed"]


def test_pointers_of_git_lfs_are_no_sounds(tmp_path):
    def replace(folder):
        (folder / "AudioWAV" / "1001_DFA_ANG_XX.wav").write_text("version https://git-lfs.github.com/spec/v1\n")

    with pytest.raises(DataError, match="AudioWAV holds pointers of git-lfs, not sounds; run git lfs pull there"):
        prepare("crema_d", tmp_path, replace)
