"""Frames of videos: which are read, and what becomes of them."""

import numpy as np
import pytest
from PIL import Image

from mmrun.data.items import FrameList
from mmrun.data.preprocess.video import Frames
from mmrun.errors import DataError
from tests.data.preprocess.fitted import fitted


def save_gif(path, levels, durations=100):
    """Save an animation whose frames are of one grey level each."""
    frames = [Image.new("L", (6, 4), level) for level in levels]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return path


def save_frames(folder, levels):
    folder.mkdir()
    for number, level in enumerate(levels):
        Image.new("L", (6, 4), level).save(folder / f"{number}.png")
    return FrameList(folder / f"{number}.png" for number in range(len(levels)))


def decode_levels(frames, value):
    return frames.decode(value)[""][:, 0, 0, 0].tolist()


def test_frames_come_from_the_middles_of_equal_parts(tmp_path):
    levels = [0, 10, 20, 30, 40, 50, 60, 70]
    for value in (save_gif(tmp_path / "a.gif", levels), save_frames(tmp_path / "a", levels)):
        frames = fitted(Frames(4, 4), "video", [value])
        assert decode_levels(frames, value) == [10, 30, 50, 70]
        assert frames.decode(value)[""].shape == (4, 1, 4, 4)
        assert frames.metadata == {"in_channels": 1, "image_size": 4, "num_frames": 4}


def test_time_stamps_decide_which_frames_are_seen(tmp_path):
    path = save_gif(tmp_path / "a.gif", [0, 10, 20, 30], [100, 100, 100, 900])  # the last one for 900 of 1200 ms
    assert decode_levels(fitted(Frames(4, 4), "video", [path]), path) == [10, 30, 30, 30]
    assert decode_levels(fitted(Frames(4, 4, sampling="number"), "video", [path]), path) == [0, 10, 20, 30]


def test_frames_of_a_short_video_are_repeated(tmp_path):
    path = save_gif(tmp_path / "a.gif", [0, 200])
    frames = fitted(Frames(4, 4), "video", [path])
    assert decode_levels(frames, path) == [0, 0, 200, 200]
    assert frames.notes == [
        "4 frames of each video, equal times apart, of 4 x 4 pixels; cropped to the centre, which cuts 33.3% of the "
        "area; videos have 2 frames; 1 of 1 have fewer than are read, which are repeated"
    ]


def test_an_array_is_a_video_and_grey_frames_become_colour_beside_others():
    grey = np.zeros((3, 1, 4, 4), dtype=np.uint8)
    colour = np.full((3, 3, 4, 4), 7, dtype=np.uint8)
    frames = fitted(Frames(3, 4), "video", [grey, colour])
    assert frames.decode(grey)[""].shape == (3, 3, 4, 4)
    assert (frames.decode(colour)[""] == 7).all()
    with pytest.raises(DataError) as caught:
        frames.decode(grey[0])
    assert str(caught.value) == "the video is uint8 [1, 4, 4], but must be uint8 [frames, channels, ...]"


def test_a_damaged_animation_is_one_line(tmp_path):
    path = save_gif(tmp_path / "a.gif", list(range(0, 250, 10)))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"a\.gif is damaged or not an image"):
        Frames(4, 4, channels=1).decode(path)


def test_a_gif_that_resembles_an_mpeg_stream_is_a_gif(tmp_path):
    path = save_gif(tmp_path / "a.gif", [0, 200])
    content = path.read_bytes()
    comment = b"\x21\xfe\xff" + b"G" * 255 + b"\xff" + b"G" * 255 + b"\x00"  # an extension full of G
    start = 13 + 3 * 2 ** ((content[10] & 7) + 1) if content[10] & 0x80 else 13  # behind the header and its palette
    path.write_bytes(content[:start] + comment + content[start:])
    assert decode_levels(fitted(Frames(2, 4), "video", [path]), path) == [0, 200]
