"""Video files that PyAV decodes: right, or one clear line."""

from fractions import Fraction

import numpy as np
import pytest

from mmrun.data import limits
from mmrun.data.preprocess.video_files import read_frames, read_video_header
from mmrun.errors import DataError

av = pytest.importorskip("av")

CODECS = {"mp4": "libx264", "mkv": "libx264", "mov": "libx264", "webm": "libvpx-vp9", "avi": "mpeg4"}


def write_video(path, levels, rate=10, times=None, rotation=None):
    """Write frames of one grey level each, 64 x 32 pixels, whose upper left quarter is white."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODECS[path.suffix[1:]], rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for number, level in enumerate(levels):
            pixels = np.full((32, 64, 3), level, dtype=np.uint8)
            pixels[:16, :32] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = (times or range(len(levels)))[number], Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read_levels(path, count, sampling="time"):
    """Return the grey levels of frames, in the quarter at the lower right, to the nearest 10."""
    return [round(int(np.asarray(frame)[-1, -1, 0]), -1) for frame in read_frames(path, count, sampling)]


@pytest.mark.parametrize("suffix", CODECS)
def test_frames_of_every_container_are_found(tmp_path, suffix):
    path = write_video(tmp_path / f"a.{suffix}", range(0, 160, 10))
    assert read_levels(path, 4) == [20, 60, 100, 140]
    header = read_video_header(path)
    assert (header.width, header.height, header.num_frames, header.channels) == (64, 32, 16, 3)
    assert header.seconds == pytest.approx(1.6)
    nameless = path.rename(tmp_path / "nameless")
    assert read_levels(nameless, 4) == [20, 60, 100, 140]


def test_time_stamps_decide_where_the_rate_varies(tmp_path):
    path = write_video(tmp_path / "a.mp4", range(0, 100, 10), times=[0, 1, 2, 3, 4, 5, 6, 7, 8, 98])
    assert read_levels(path, 5) == [80, 80, 80, 80, 80]  # the frame of 0.8 s is seen for 9 s of 9.9
    assert read_levels(path, 5, "number") == [10, 30, 50, 70, 90]


def test_a_seek_to_key_frames_finds_the_same_frames(tmp_path):
    levels = [number % 16 * 10 for number in range(600)]  # the encoder sets a key frame at least each 250 frames
    path = write_video(tmp_path / "a.mp4", levels)
    assert read_levels(path, 3, "number") == [levels[100], levels[300], levels[500]]


@pytest.mark.parametrize(("rotation", "corner"), [(90, (-1, 0)), (-90, (0, -1)), (180, (-1, -1))])
def test_a_rotated_video_is_upright(tmp_path, rotation, corner):
    path = write_video(tmp_path / "a.mp4", [0] * 4, rotation=rotation)
    frame = np.asarray(next(read_frames(path, 1)))[..., 0] > 128
    corners = {(top, left): bool(frame[top, left]) for top in (0, -1) for left in (0, -1)}
    assert [place for place, is_white in corners.items() if is_white] == [corner]
    header = read_video_header(path)
    assert (header.height, header.width) == frame.shape


def test_files_that_are_cut_off_or_broken_are_one_line(tmp_path):
    path = write_video(tmp_path / "a.mp4", range(0, 160, 10))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError) as caught:
        list(read_frames(path, 4))
    assert str(caught.value) == "a.mp4 is damaged or not a video (InvalidDataError)"
    path.write_bytes(b"\x1aE\xdf\xa3" + bytes(range(256)) * 4)
    with pytest.raises(DataError, match=r"a\.mp4 is damaged or not a video \(\w+\)"):
        list(read_frames(path, 4))


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(DataError) as caught:
        list(read_frames(path, 4))
    assert str(caught.value) == "a.mkv holds sound, but no video"


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile /etc/hostname\n",
        '<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1:9/</BaseURL></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_playlists_are_not_opened(tmp_path, text):
    path = tmp_path / "a.mp4"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        list(read_frames(path, 1))
    assert str(caught.value) == "a.mp4 is no video, whatever its name says"


def test_too_many_or_too_large_frames_are_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", [0] * 20)
    monkeypatch.setattr(limits, "MAX_PIXELS", 64 * 32 - 1)
    with pytest.raises(DataError, match=r"a\.mp4 has 64 x 32 pixels; more than 0 million are refused, so resize it"):
        list(read_frames(path, 1))
    monkeypatch.setattr(limits, "MAX_PIXELS", 64 * 32)
    monkeypatch.setattr(limits, "MAX_VIDEO_PIXELS", 64 * 32 * 10)
    with pytest.raises(DataError, match=r"billion pixels in all, which is refused; cut it into clips"):
        list(read_frames(path, 1))
