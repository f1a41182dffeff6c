"""Reads rows completely: whether they can be read, what they hold, and a few numbers that rows are compared by."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmrun.data.items import list_items
from mmrun.data.map_rows import map_rows
from mmrun.data.preprocess.audio import Sound, read_audio
from mmrun.data.preprocess.image_files import Header, composite, is_array, open_image, read_deep, read_header
from mmrun.data.preprocess.point_files import read_cloud
from mmrun.data.preprocess.series import choose_layout
from mmrun.data.preprocess.series_files import read_series
from mmrun.data.preprocess.text import read_text
from mmrun.data.preprocess.video_files import VideoValue, read_frames, read_video_header
from mmrun.data.table import Column, SeriesLayout
from mmrun.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

THUMBNAIL = 12  # pixels, width and height
NUM_FRAMES = 4  # of a video
DECODED = 96  # pixels that a JPEG is decoded to at least
BACKGROUND = (128, 128, 128)  # behind transparent pixels, as encoders see them
MIN_DEVIATION = 1.0  # grey levels, of a picture that shows something
NUM_SEGMENTS, NUM_BANDS = 24, 18  # of a recording's spectrogram
FRAME = 256  # samples
MIN_POWER = 1e-10  # -100 dB
MIN_AMPLITUDE = 1e-3  # -60 dB; a recording that never exceeds it is silent
CLIPPED_AMPLITUDE = 0.98  # at which a recorder is at its limit
MAX_CLIPPED = 0.005  # share of samples that lie on flat peaks
NUM_CHANNELS, NUM_STEPS = 6, 72  # of a series that is compared
NUM_CELLS = (8, 8, 4)  # of a point cloud that is compared, along each coordinate


class ReadValue(NamedTuple):
    """One value that was read.

    Attributes:
        facts: by kind: the header of an image or video; seconds and rate of a recording; a text; the shape of a series;
            number and columns of points.
        features: [D] float32, the same D in all values of a kind; None of a text.
        flags: what is odd, kinds of findings.
    """

    facts: Any
    features: np.ndarray | None = None
    flags: tuple[str, ...] = ()


class ReadValues(NamedTuple):
    """Values of a column that were read.

    Attributes:
        rows: numbers of the rows that could be read [n].
        values: of these rows.
        unreadable: reason, by the number of a row that could not be read.
    """

    rows: np.ndarray
    values: list[ReadValue]
    unreadable: dict[int, str]

    def find_flagged(self, flag: str) -> list[int]:
        """Return the numbers of the rows with a flag.

        Args:
            flag: one of ReadValue.flags.
        """
        return [row for row, value in zip(self.rows.tolist(), self.values, strict=True) if flag in value.flags]

    def stack_features(self) -> np.ndarray:
        """Return the features of all values [n, D]."""
        features = [value.features for value in self.values]
        return np.stack(features) if features else np.zeros((0, 1), dtype=np.float32)  # type: ignore[arg-type]


def read_values(column: Column, rows: np.ndarray) -> ReadValues:
    """Read rows completely, files in threads.

    Args:
        column: images, recordings, texts or series.
        rows: numbers of the rows to read, all present [n].
    """
    read = READERS[column.kind]
    if column.kind == "series":
        read = partial(_read_steps, layout=choose_layout(column, rows).layout)

    def read_items(value: object) -> ReadValue:
        return _merge_items([read(item) for item in list_items(value)])

    read_rows, values = [], []
    unreadable = {}
    for row, result in zip(rows.tolist(), map_rows(column, rows.tolist(), read_items), strict=True):
        if isinstance(result, DataError):
            unreadable[row] = str(result)
        elif result is not None:
            read_rows.append(row)
            values.append(result)
    return ReadValues(np.array(read_rows, dtype=np.int64), values, unreadable)


def _merge_items(items: Sequence[ReadValue]) -> ReadValue:
    """Return one value for all items of a row: the facts of the first, the mean features, and what is odd in any."""
    if len(items) == 1:
        return items[0]
    features = np.mean([item.features for item in items if item.features is not None], axis=0)
    flags = dict.fromkeys(chain.from_iterable(item.flags for item in items))
    return ReadValue(items[0].facts, features, tuple(flags))


# --------------------------------------------------------------------------------------------------------------- images


def _read_image(value: Path | np.ndarray) -> ReadValue:
    """Decode an image, and shrink it to a thumbnail of THUMBNAIL x THUMBNAIL pixels in three colours."""
    header = read_header(value)
    if header.is_deep or is_array(value):
        return _read_deep_image(value, header)
    assert isinstance(value, Path)
    image = open_image(value, DECODED)
    if (image.width < image.height) != (header.width < header.height):  # it is rotated to be seen
        header = header._replace(width=header.height, height=header.width)
    opaque = composite(image, BACKGROUND) if header.has_alpha else image
    return _shrink(opaque.convert("RGB"), header)


def _shrink(opaque: "Image", header: Header | None) -> ReadValue:
    """Shrink a picture to a thumbnail."""
    from PIL import Image

    factor = max(1, min(opaque.size) // DECODED)
    deviations = np.asarray(opaque.reduce(factor), dtype=np.float32).std(axis=(0, 1))
    flags = ("blank",) if deviations.max() < MIN_DEVIATION else ()
    small = opaque.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return ReadValue(header, np.asarray(small, dtype=np.float32).ravel() / 255, flags)


def _read_deep_image(value: Path | np.ndarray, header: Header) -> ReadValue:
    from PIL import Image

    pixels = read_deep(value, BACKGROUND)[:3]
    is_finite = np.isfinite(pixels)
    flags = () if is_finite.all() else ("not-finite",)
    least, most = (float(bound(pixels[is_finite])) if is_finite.any() else 0.0 for bound in (np.min, np.max))
    if most <= least:
        flags = (*flags, "blank")
    scaled = np.clip((np.nan_to_num(pixels, nan=least) - least) / max(most - least, 1e-12), 0, 1)
    channels = []
    for channel in scaled[[0, 1, 2] if len(scaled) == 3 else [0, 0, 0]]:
        small = Image.fromarray(channel.astype(np.float32)).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        channels.append(np.asarray(small, dtype=np.float32))
    return ReadValue(header, np.stack(channels, axis=2).ravel(), flags)


def _read_video(value: VideoValue) -> ReadValue:
    """Decode a few frames of a video, and shrink each to a thumbnail."""
    header = read_video_header(value)
    frames = [_shrink_frame(frame) for frame in read_frames(value, NUM_FRAMES)]
    features = [frame.features for frame in frames if frame.features is not None]
    flags: tuple[str, ...] = ()
    if all(frame.flags == ("blank",) for frame in frames):
        flags = ("blank",)
    elif header.num_frames > 1 and all(np.array_equal(each, features[0]) for each in features):
        flags = ("still",)
    return ReadValue(header, np.concatenate(features), flags)


def _shrink_frame(frame: "Path | np.ndarray | Image") -> ReadValue:
    if isinstance(frame, Path | np.ndarray):
        return _read_image(frame)
    opaque = composite(frame, BACKGROUND) if frame.mode == "RGBA" else frame
    return _shrink(opaque.convert("RGB"), None)


# ---------------------------------------------------------------------------------------------------------------- sound


def _read_recording(value: Sound) -> ReadValue:
    """Read a recording, and shrink its spectrogram to NUM_SEGMENTS x NUM_BANDS powers in dB."""
    samples, rate = read_audio(value)
    samples = samples.astype(np.float32) / (32768 if samples.dtype == np.int16 else 1)
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    flags = []
    if not np.isfinite(samples).all():
        flags.append("not-finite")
        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    peak = float(np.abs(samples).max())
    if peak < MIN_AMPLITUDE:
        flags.append("silent")
    elif peak >= CLIPPED_AMPLITUDE and _measure_flat_peaks(samples, peak) > MAX_CLIPPED:
        flags.append("clipped")
    return ReadValue((len(samples) / rate, rate), _shrink_spectrogram(samples), tuple(flags))


def _measure_flat_peaks(samples: np.ndarray, peak: float) -> float:
    """Return the share of the samples that lie at the peak, as do both their neighbours."""
    is_at_peak = np.abs(samples) >= peak * 0.999
    is_flat = is_at_peak & (np.diff(samples, prepend=np.nan) == 0) & (np.diff(samples, append=np.nan) == 0)
    return float(is_flat.mean())


def _shrink_spectrogram(samples: np.ndarray) -> np.ndarray:
    """Return the powers in dB [NUM_SEGMENTS * NUM_BANDS], of segments of equal length and bands of equal ratio."""
    if len(samples) < FRAME:
        samples = np.pad(samples, (0, FRAME - len(samples)))
    num_frames = max(NUM_SEGMENTS, len(samples) // FRAME)
    starts = np.linspace(0, len(samples) - FRAME, num_frames).astype(np.int64)
    edges = np.unique(np.geomspace(1, FRAME // 2, NUM_BANDS + 6).astype(np.int64))[:NUM_BANDS]
    segments = np.linspace(0, num_frames, NUM_SEGMENTS + 1).astype(np.int64)
    window = np.hanning(FRAME).astype(np.float32)
    powers = np.empty((NUM_SEGMENTS, NUM_BANDS), dtype=np.float32)
    for segment, (first, end) in enumerate(pairwise(segments.tolist())):
        frames = samples[starts[first:end, None] + np.arange(FRAME)] * window
        spectrum = np.square(np.abs(np.fft.rfft(frames, axis=1))).mean(axis=0)
        powers[segment] = np.add.reduceat(spectrum, edges)
    return np.asarray(10 * np.log10(powers + MIN_POWER)).ravel()


# ----------------------------------------------------------------------------------------------------- texts and series


def _read_words(value: str | Path) -> ReadValue:
    """Read a text."""
    text = read_text(value)
    has_content = any(letter.isalnum() for letter in text) or any(ord(letter) > 0x2000 for letter in text)
    return ReadValue(text, flags=() if has_content else ("empty",))


def _read_steps(value: object, layout: SeriesLayout = "channels_first") -> ReadValue:
    """Read a series, and interpolate its first channels to NUM_STEPS steps."""
    series = read_series(value, layout)
    channels = np.asarray(series[:NUM_CHANNELS], dtype=np.float64)
    flags = []
    if not np.isfinite(series).all():
        flags.append("not-finite")
        channels = np.nan_to_num(channels, nan=0.0, posinf=0.0, neginf=0.0)
    if np.ptp(channels, axis=1).max() == 0:
        flags.append("blank")
    steps = np.linspace(0, channels.shape[1] - 1, NUM_STEPS)
    features = np.zeros((NUM_CHANNELS, NUM_STEPS), dtype=np.float32)
    for place, channel in enumerate(channels):
        features[place] = np.interp(steps, np.arange(len(channel)), channel)
    return ReadValue(series.shape, features.ravel(), tuple(flags))


def _read_points(value: Path | np.ndarray) -> ReadValue:
    """Read a point cloud, and count the share of its points in NUM_CELLS cells of the box that it fills."""
    cloud = read_cloud(value)
    coordinates = cloud.points[:, :3].astype(np.float64)
    low, extent = coordinates.min(axis=0), np.ptp(coordinates, axis=0)
    shares = np.divide(coordinates - low, extent, out=np.zeros_like(coordinates), where=extent > 0)
    places = np.minimum(shares * NUM_CELLS, np.array(NUM_CELLS) - 1).astype(np.int64)
    counts = np.bincount(np.ravel_multi_index(tuple(places.T), NUM_CELLS), minlength=math.prod(NUM_CELLS))
    flags = (("not-finite",) if cloud.num_dropped else ()) + (("blank",) if extent.max() == 0 else ())
    return ReadValue((len(coordinates), cloud.names), (counts / len(coordinates)).astype(np.float32), flags)


READERS: dict[str, Callable[[Any], ReadValue]] = {
    "image": _read_image,
    "audio": _read_recording,
    "text": _read_words,
    "series": _read_steps,
    "points": _read_points,
    "video": _read_video,
}
