"""Reads video files, animated images and folders of frames: what they hold, and a few of their frames.

Files such as MP4 and WebM are decoded by PyAV, of the extra `video`. The format is decided by the first bytes, never by
the name or by FFmpeg's own guess, so that a playlist that names other files or addresses is not read.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

import numpy as np

from mmrun.data.items import Excerpt, FrameList
from mmrun.data.limits import MAX_FRAMES, check_video
from mmrun.data.preprocess.image_files import open_frames, open_image, read_header
from mmrun.data.subfiles import open_file
from mmrun.data.suffixes import SUFFIXES
from mmrun.errors import DataError
from mmrun.installation import format_pip_command

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from PIL.Image import Image

Sampling = Literal["time", "number"]
Choose = Callable[[Sequence[float], float], list[int]]  # starts of all frames, end of the last one -> numbers of some
VideoValue = Path | Excerpt | FrameList | np.ndarray  # a file, a part of one, frames that are files, or [T, C, H, W]

DEFAULT_DURATION = 100  # ms, of a frame of an animated image that claims none, as browsers show it
HEAD_BYTES = 384  # of a file, by which its format is recognised
MPEG_PACKET = 188  # bytes, each of which starts with the same one
GIF_START = b"GIF8"
STARTS = {  # first bytes -> FFmpeg's name of the format
    b"\x1aE\xdf\xa3": "matroska",  # WebM, too
    b"OggS": "ogg",
    b"FLV\x01": "flv",
    b"\x00\x00\x01\xba": "mpeg",
    b"\x00\x00\x01\xb3": "mpegvideo",
    b"0&\xb2u\x8ef\xcf\x11": "asf",
}
BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}  # the first one of an MP4 or QuickTime file
MIN_SHARE = 0.9  # of the frames that a header claims; with fewer a file is cut off


class VideoHeader(NamedTuple):
    """What is known of a video.

    Attributes:
        width: pixels, as it is seen.
        height: pixels, as it is seen.
        num_frames: of the whole video.
        seconds: its length; None of frames that are files of their own, or an array.
        channels: 1 grey, 3 colour, or as many as an array has.
        codec: name of what it is compressed with; empty: nothing.
    """

    width: int
    height: int
    num_frames: int
    seconds: float | None
    channels: int
    codec: str


def read_video_header(value: VideoValue) -> VideoHeader:
    """Read what is known of a video without decoding more than one frame.

    Args:
        value: a file or a part of one, the files of its frames, or an array [T, C, H, W].

    Raises:
        DataError: it cannot be read.
    """
    if isinstance(value, Excerpt):
        return _cut_header(read_video_header(value.path), value.stop - value.start)
    if isinstance(value, FrameList):
        first = read_header(value[0])
        return VideoHeader(first.width, first.height, len(value), None, first.channels, "")
    if isinstance(value, np.ndarray):
        num_frames, channels, height, width = _check_array(value).shape
        return VideoHeader(width, height, num_frames, None, channels, "")
    if _find_format(value) is None:
        header = read_header(value)
        with open_frames(value) as image:
            starts = _list_start_times(image)
        return VideoHeader(header.width, header.height, len(starts) - 1, starts[-1], header.channels, "")
    with _open(value) as (container, stream):
        times, codec = _list_times(container, stream, value.name), stream.codec_context.name
    with _open(value) as (container, stream):
        frame = next(_decode(container, stream, value.name))
        sides = (frame.height, frame.width) if frame.rotation % 180 else (frame.width, frame.height)
        return VideoHeader(*sides, len(times.stamps), times.end - times.seconds[0], 3, codec)


def _cut_header(header: VideoHeader, seconds: float) -> VideoHeader:
    """Return what is known of a part of a video."""
    share = seconds / max(header.seconds or 0.0, 1e-9)
    return header._replace(seconds=seconds, num_frames=max(round(header.num_frames * share), 1))


def read_frames(value: VideoValue, count: int, sampling: Sampling = "time") -> "Iterator[Path | np.ndarray | Image]":
    """Yield some frames of a video, from the middles of as many equal parts of it; only one is in memory at a time.

    Args:
        value: a file or a part of one, the files of its frames, or an array [T, C, H, W].
        count: number of frames; those of a video that has fewer are repeated, one after the other.
        sampling: time: parts of equal time; number: parts of an equal number of frames. They differ where the rate of
            the frames varies.

    Yields:
        Files, arrays [C, H, W] or pictures, upright, in the order of time; a repeated frame is the same object.

    Raises:
        DataError: the video cannot be read.
    """
    if isinstance(value, Path | Excerpt):
        file, start, stop = value if isinstance(value, Excerpt) else (value, 0.0, math.inf)
        read = _read_animation if _find_format(file) is None else _read_video
        yield from read(file, partial(_choose, span=(start, stop), count=count, sampling=sampling))
        return
    frames = value if isinstance(value, FrameList) else list(_check_array(value))
    for place in _spread(len(frames), count):
        yield frames[place]


def _check_array(value: np.ndarray) -> np.ndarray:
    """Return an array [T, C, H, W], if it holds the frames of a video."""
    if value.ndim != 4 or value.size == 0 or value.dtype != np.uint8:
        raise DataError(f"the video is {value.dtype} {list(value.shape)}, but must be uint8 [frames, channels, ...]")
    return value


def _find_format(file: Path) -> str | None:
    """Return the format that PyAV reads a file as, by its first bytes; None: it may be an image, which Pillow reads."""
    try:
        with open_file(file) as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise DataError(f"{file.name} cannot be read ({error.strerror or error})") from None
    if head[4:8] in BOXES:
        return "mov"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head.startswith(GIF_START):
        return None  # which would also start an MPEG packet
    if head[::MPEG_PACKET] == b"GGG":
        return "mpegts"
    for start, name in STARTS.items():
        if head.startswith(start):
            return name
    if file.suffix.lower() in SUFFIXES["video"]:
        raise DataError(f"{file.name} is no video, whatever its name says")
    return None


def _spread(total: int, count: int) -> list[int]:
    """Return the numbers of the frames in the middles of `count` equal parts."""
    return [(2 * part + 1) * total // (2 * count) for part in range(count)]


def _choose(
    starts: Sequence[float], end: float, span: tuple[float, float], count: int, sampling: Sampling
) -> list[int]:
    """Return the numbers of the frames in the middles of equal parts of a span.

    Args:
        starts: when each frame appears, ascending, in s.
        end: when the last one disappears.
        span: its start and stop after the first frame; an infinite one is that of the whole video.
        count: number of parts.
        sampling: parts of equal time, whose frames are those seen in the middle; or of an equal number of frames.
    """
    first, last = starts[0] + span[0], end if span[1] == math.inf else starts[0] + span[1]
    if sampling == "time":
        moments = [first + (2 * part + 1) * (last - first) / (2 * count) for part in range(count)]
        return [max(bisect_right(starts, moment) - 1, 0) for moment in moments]
    start = max(bisect_right(starts, first) - 1, 0)
    return [start + place for place in _spread(max(bisect_left(starts, last) - start, 1), count)]


# ------------------------------------------------------------------------------------------------------ animated images


def _read_animation(file: Path, choose: Choose) -> "Iterator[Image]":
    if not read_header(file).is_animated:
        yield from [open_image(file)] * len(choose([0.0], 1.0))
        return
    with open_frames(file) as image:
        *starts, end = _list_start_times(image)
        check_video(image.width, image.height, len(starts), file.name)
        for place, places in groupby(choose(starts, end)):
            image.seek(place)
            frame = image.convert("RGBA" if image.has_transparency_data else "RGB")
            yield from (frame for _ in places)


def _list_start_times(image: "Image") -> list[float]:
    """Return when each frame of an animated image appears, and when the last one disappears, in s."""
    durations = []
    for place in range(min(getattr(image, "n_frames", 1), MAX_FRAMES + 1)):
        image.seek(place)
        durations.append(float(image.info.get("duration") or DEFAULT_DURATION))
    return [0.0, *(time / 1000 for time in accumulate(durations))]


# ---------------------------------------------------------------------------------------------------------- video files


class _Times(NamedTuple):
    """When the frames of a file appear.

    Attributes:
        stamps: presentation time stamps, ascending, in units of the stream.
        keys: of those that are decoded without others, ascending.
        seconds: of `stamps`.
        end: when the last one disappears, in s.
    """

    stamps: list[int]
    keys: list[int]
    seconds: list[float]
    end: float


def _read_video(file: Path, choose: Choose) -> "Iterator[Image]":
    with _open(file) as (container, stream):
        times = _list_times(container, stream, file.name)
        check_video(stream.codec_context.width, stream.codec_context.height, len(times.stamps), file.name)
    places = choose(times.seconds, times.end)
    with _open(file) as (container, stream):  # from the start, whether or not the format can be rewound
        yield from _read_at(container, stream, times, places, file.name)


def _read_at(
    container: "InputContainer", stream: "VideoStream", times: _Times, places: Sequence[int], name: str
) -> "Iterator[Image]":
    """Decode the frames of some numbers, ascending; what lies before a key frame in between is skipped."""
    position = times.stamps[0] - 1  # time stamp of the last frame that was decoded
    decoded = _decode(container, stream, name)
    latest: VideoFrame | None = None
    for place, repeated in groupby(places):
        target = times.stamps[place]
        key = times.keys[max(bisect_right(times.keys, target) - 1, 0)] if times.keys else times.stamps[0]
        if key > max(position, times.stamps[0]):
            container.seek(key, stream=stream)
            decoded = _decode(container, stream, name)
        while position < target:
            frame = next(decoded, None)
            if frame is None:
                break
            latest, stamp = frame, frame.dts if frame.pts is None else frame.pts
            position = position if stamp is None else stamp
        if latest is None or latest.is_corrupt:
            raise DataError(f"{name} is damaged at {times.seconds[place]:.1f} s")
        image = _to_image(latest)
        yield from (image for _ in repeated)


def _to_image(frame: "VideoFrame") -> "Image":
    """Return a frame as a picture, upright."""
    from PIL import Image

    pixels = frame.to_ndarray(format="rgb24")
    return Image.fromarray(np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90))))


def _decode(container: "InputContainer", stream: "VideoStream", name: str) -> "Iterator[VideoFrame]":
    for frame in container.decode(stream):
        check_video(frame.width, frame.height, 1, name)
        yield frame


def _list_times(container: "InputContainer", stream: "VideoStream", name: str) -> _Times:
    """Read the time stamps of all frames, which are not decoded."""
    stamps, keys, duration = [], [], 0
    for packet in container.demux(stream):
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None or packet.size == 0:
            continue
        stamps.append(stamp)
        duration = packet.duration or duration
        if packet.is_keyframe:
            keys.append(stamp)
        if len(stamps) > MAX_FRAMES:
            break
    if not stamps:
        raise DataError(f"{name} holds no frame")
    if len(stamps) < MIN_SHARE * min(stream.frames, MAX_FRAMES):
        raise DataError(f"{name} is cut off: it has {len(stamps):,} of {stream.frames:,} frames")
    stamps.sort()
    unit = float(stream.time_base or 1)
    seconds = [stamp * unit for stamp in stamps]
    last = duration * unit or (seconds[-1] - seconds[0]) / max(len(stamps) - 1, 1)
    return _Times(stamps, sorted(keys), seconds, seconds[-1] + last)


@contextmanager
def _open(file: Path) -> "Iterator[tuple[InputContainer, VideoStream]]":
    """Open a video file; errors of decoding inside are translated, too."""
    try:
        import av
    except ImportError:
        command = format_pip_command("install", "av")
        raise DataError(f"{file.name}: videos are read by PyAV; install it with {command}") from None
    try:
        with (
            open_file(file) as content,
            av.open(content, format=_find_format(file), io_open=_refuse, metadata_errors="ignore") as container,
        ):
            if not container.streams.video:
                raise DataError(f"{file.name} holds sound, but no video")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # rows are decoded in parallel
            check_video(stream.codec_context.width, stream.codec_context.height, stream.frames, file.name)
            yield container, stream
    except DataError:
        raise
    except Exception as error:  # PyAV's exception classes depend on what is wrong
        raise DataError(f"{file.name} is damaged or not a video ({type(error).__name__})") from None


def _refuse(url: str, flags: int, options: Mapping[str, Any]) -> NoReturn:
    """Refuse to open another file or address that a file names."""
    raise PermissionError("a video that names other files is not read")
