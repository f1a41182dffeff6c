"""Folders of images: the order of frames, and which folders are clips."""

import pytest

from mmrun.data.frames import find_clips, list_frames
from mmrun.errors import DataError


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    for name in ("f10.png", "f9.jpg", "f1.png", ".f0.png", "notes.txt", "f2.gif"):
        (tmp_path / name).touch()
    assert list_frames(str(tmp_path)) == ["f1.png", "f9.jpg", "f10.png"]


def test_a_folder_without_an_image_is_no_video(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="is a folder without an image; name a video, or a folder of its frames"):
        list_frames(str(tmp_path))


def test_folders_of_numbered_images_inside_those_of_classes_are_clips():
    clip = [f"cat/a/{number}.png" for number in range(8, 12)]
    assert find_clips(sorted(clip), 1) == {"cat/a": clip}
    assert find_clips([*clip, "cat/b/1.png"], 1) == {}  # one image is no clip
    assert find_clips([*clip[:2], *clip[3:], "cat/a/13.png"], 1) == {}  # 10 is missing
    assert find_clips(clip, 0) == {}  # `a` would be no clip but a class
    assert find_clips([f"cat/{number}.png" for number in range(9)], 1) == {}
