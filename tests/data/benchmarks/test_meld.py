"""MELD: the rows of a tiny folder of its layout, and what is wrong with others."""

import pytest

from mmrun.errors import DataError
from tests.data.benchmarks.layouts import prepare


def test_rows(tmp_path):
    rows = prepare("meld", tmp_path).rows
    assert [row["split"] for row in rows] == ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    assert rows[5] == {
        "id": "val-dia0_utt1",
        "text": "dev 0: Fine.\nReally.",
        "audio": "dev/dev_splits_complete/dia0_utt1.wav",
        "image": "dev/dev_splits_complete/dia0_utt1.jpg",
        "emotion": "neutral",
        "sentiment": "negative",
        "speaker": "Joey",
        "dialogue": "val-0",
        "split": "val",
    }


def remove_media(folder):
    for path in [*folder.rglob("*.wav"), *folder.rglob("*.jpg")]:
        path.unlink()


def test_videos_alone_are_refused_with_the_command_that_extracts_their_sounds(tmp_path):
    with pytest.raises(DataError) as caught:
        prepare("meld", tmp_path, remove_media)
    assert str(caught.value) == (
        f"{tmp_path}/meld: there is no .wav beside the .mp4 files; leave their cells empty with --allow-missing, or "
        f"extract them: find {tmp_path}/meld -name '*.mp4' "
        '-exec sh -c \'ffmpeg -nostdin -v error -n -i "$1" -vn -ac 1 -ar 16000 "${1%.*}.wav"\' _ {} \\;'
    )


def test_text_alone_is_a_manifest_if_missing_files_are_allowed(tmp_path):
    prepared = prepare("meld", tmp_path, remove_media, allow_missing=True)
    assert [row["audio"] for row in prepared.rows] == [None] * 12
    assert len(prepared.source.missing["audio"]) == 12
