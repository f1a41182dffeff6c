"""Draws a few rows of each class, and makes them small enough to be shown on a page."""

import io
import math
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmrun.data.checks.modality_statistics import encodes_date
from mmrun.data.items import list_items
from mmrun.data.names import shorten
from mmrun.data.preprocess.audio import Sound, read_audio
from mmrun.data.preprocess.image_files import composite, is_array, open_image, read_array, read_deep, read_header
from mmrun.data.preprocess.point_files import read_cloud
from mmrun.data.preprocess.points import draw_map
from mmrun.data.preprocess.series import choose_layout
from mmrun.data.preprocess.series_files import read_series
from mmrun.data.preprocess.text import read_text
from mmrun.data.preprocess.video_files import VideoValue, read_frames, read_video_header
from mmrun.data.split import compute_strata, has_target
from mmrun.data.table import CLASSES, Column, SeriesLayout, Table, Target
from mmrun.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_CLASSES = 12
MAX_OF_CLASS = 3
MAX_BYTES = 2 << 20  # of all pictures and sounds
PIXELS = 160  # of the longer side
QUALITY = 80  # of JPEG
NUM_FRAMES = 4  # of a video
GREY = (128, 128, 128)  # behind transparent pixels
SECONDS, RATE = 3.0, 12_000  # of a sound, at most
MAX_LETTERS = 400
MAX_CELLS = 15
MAX_CHANNELS = 3  # of a series
MAX_POINTS = 150  # of a line
MAX_COMPARED = 100  # series, to find out which axis is time


@dataclass(frozen=True)
class Media:
    """A picture or a sound.

    Attributes:
        kind: "image/jpeg" or "audio/wav".
        content: of the file.
        label: what it is cut to or resized from.
    """

    kind: str
    content: bytes
    label: str


@dataclass(frozen=True)
class Lines:
    """A series as lines.

    Attributes:
        channels: at most MAX_POINTS numbers each.
        label: how much of the series is shown.
    """

    channels: list[list[float]]
    label: str


@dataclass(frozen=True)
class Problem:
    """Why a value cannot be shown.

    Attributes:
        reason: one line.
    """

    reason: str


Cells = Mapping[str, str]
Value = Media | Lines | Problem | Cells | str | None


@dataclass(frozen=True)
class Sample:
    """A row.

    Attributes:
        id: of the row.
        split: that it is in.
        targets: as text, by name.
        values: by modality; None: missing.
    """

    id: str
    split: str
    targets: dict[str, str]
    values: dict[str, Value]


def draw_samples(table: Table) -> tuple[dict[str, list[Sample]], list[str]]:
    """Draw rows of each class of the first target, or of each range of its numbers.

    Args:
        table: the data set.

    Returns:
        Samples by class, the largest classes first; and what was left out, one line each.
    """
    name, target = next(iter(table.targets.items()))
    strata = _find_strata(target)
    readers = {name: _get_reader(column) for name, column in table.columns.items()}
    rng = np.random.default_rng(0)
    numbers, sizes = np.unique(strata[strata >= 0], return_counts=True)
    largest = numbers[np.argsort(-sizes, kind="stable")][:MAX_CLASSES]
    notes = (
        [] if len(largest) == len(numbers) else [f"samples are of the {MAX_CLASSES} largest of {len(numbers)} classes"]
    )
    samples: dict[str, list[Sample]] = {}
    num_bytes = 0
    for stratum in largest.tolist():
        rows = rng.permutation(np.flatnonzero(strata == stratum))[:MAX_OF_CLASS]
        for row in np.sort(rows).tolist():
            sample = _read_sample(table, row, readers)
            size = sum(len(value.content) for value in sample.values.values() if isinstance(value, Media))
            if num_bytes + size > MAX_BYTES:
                notes.append(f"samples end where pictures and sounds take more than {MAX_BYTES >> 20} MiB")
                return samples, notes
            num_bytes += size
            samples.setdefault(_name_stratum(name, target, strata, stratum), []).append(sample)
    return samples, notes


def _find_strata(target: Target) -> np.ndarray:
    """Return the class, the first label or the range of numbers of each row, [N] int64; -1: without a target."""
    if target.task == "multilabel":
        has_label = target.values == 1
        return np.where(has_label.any(axis=1), has_label.argmax(axis=1), -1)
    if target.task in CLASSES:
        classes: np.ndarray = np.maximum(target.values, -1)
        return classes
    return np.where(has_target(target), compute_strata(target), -1)


def _name_stratum(name: str, target: Target, strata: np.ndarray, stratum: int) -> str:
    if target.task != "regression":
        return shorten(target.names[stratum])
    numbers = target.values.reshape(len(strata), -1)[strata == stratum, 0]
    return f"{name} {np.nanmin(numbers):.4g} to {np.nanmax(numbers):.4g}"


def _get_reader(column: Column) -> "Callable[[Any], Value]":
    if column.kind != "series":
        return READ[column.kind]
    rows = np.flatnonzero(column.is_present())[:MAX_COMPARED]
    return partial(_read_series, layout=choose_layout(column, rows).layout)


def _read_sample(table: Table, row: int, readers: "Mapping[str, Callable[[Any], Value]]") -> Sample:
    values: dict[str, Value] = {}
    for name, column in table.columns.items():
        value = column.values[row]
        try:
            # Of several files in a cell, the first one
            values[name] = None if value is None else readers[name](list_items(value)[0])
        except DataError as error:
            values[name] = Problem(str(error))
    targets = {name: _format_target(target, row) for name, target in table.targets.items()}
    return Sample(shorten(str(table.ids[row])), str(table.split[row]), targets, values)


def _format_target(target: Target, row: int) -> str:
    value = target.values[row]
    if target.task in CLASSES:
        return shorten(target.names[int(value)]) if value >= 0 else "none"
    if target.task == "multilabel":
        labels = [name for name, is_set in zip(target.names, (value == 1).tolist(), strict=True) if is_set]
        return shorten(", ".join(labels) or "none", MAX_LETTERS)
    return ", ".join(f"{number:.6g}" for number in np.atleast_1d(value).tolist())


# ------------------------------------------------------------------------------------------------------- one value


def _read_image(value: Path | np.ndarray) -> Media:
    from PIL import Image

    image, header = _open_shown(value), read_header(value)
    enlargement = PIXELS // max(image.size)
    if enlargement > 1:
        image = image.resize((image.width * enlargement, image.height * enlargement), Image.Resampling.NEAREST)
    image.thumbnail((PIXELS, PIXELS))
    return Media("image/jpeg", _encode_jpeg(image), f"{header.width} x {header.height}")


def _open_shown(value: Path | np.ndarray) -> "Image":
    """Open an image as grey or colour of 8 bits, without transparency."""
    from PIL import Image

    header = read_header(value)
    if is_array(value) or header.is_deep:
        pixels = read_deep(value, GREY) if header.is_deep else np.asarray(read_array(value))
        image = Image.fromarray(_scale(pixels))
    else:
        assert isinstance(value, Path)
        image = open_image(value, PIXELS)
    if header.has_alpha and not header.is_deep:
        image = composite(image, GREY)
    return image.convert("L" if header.channels == 1 else "RGB")


def _read_video(value: VideoValue) -> Media:
    """Return some frames of a video side by side."""
    from PIL import Image

    header = read_video_header(value)
    frames = []
    for frame in read_frames(value, NUM_FRAMES):
        shown = _open_shown(frame) if isinstance(frame, Path | np.ndarray) else frame.convert("RGB")
        shown.thumbnail((PIXELS, PIXELS))
        frames.append(shown)
    strip = Image.new("RGB", (sum(frame.width for frame in frames), max(frame.height for frame in frames)))
    left = 0
    for frame in frames:
        strip.paste(frame, (left, 0))
        left += frame.width
    length = "" if header.seconds is None else f", {header.seconds:.3g} s"
    about = f"{header.width} x {header.height}, {header.num_frames:,} frames{length}"
    return Media("image/jpeg", _encode_jpeg(strip), about)


def _encode_jpeg(image: "Image") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _scale(pixels: np.ndarray) -> np.ndarray:
    """Return [H, W] or [H, W, 3] uint8 of [C, H, W]: its first channels, from their lowest to their highest value."""
    step = max(1, max(pixels.shape[1:]) // (4 * PIXELS))
    shown = np.asarray(pixels[: 3 if len(pixels) >= 3 else 1, ::step, ::step], dtype=np.float64)
    if pixels.dtype != np.uint8:
        finite = shown[np.isfinite(shown)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        shown = (np.nan_to_num(shown, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-12) * 255
    scaled: np.ndarray = shown.clip(0, 255).astype(np.uint8)
    return scaled[0] if len(scaled) == 1 else scaled.transpose(1, 2, 0)


def _read_sound(value: Sound) -> Media:
    """Return the beginning of a sound as WAV of 16 bits, one channel and at most RATE samples per second."""
    samples, rate = read_audio(value, SECONDS)
    samples = samples[: math.ceil(SECONDS * rate)]
    samples = samples.astype(np.float32) / (32768 if samples.dtype == np.int16 else 1)
    mono = samples.mean(axis=1) if samples.ndim == 2 else samples
    step = -(-rate // RATE)
    resampled = np.pad(mono, (0, -len(mono) % step), mode="edge").reshape(-1, step).mean(axis=1)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(max(1, rate // step))
        file.writeframes((np.nan_to_num(resampled).clip(-1, 1) * 32767).astype("<i2").tobytes())
    return Media("audio/wav", buffer.getvalue(), f"the first {len(mono) / rate:.1f} s at {rate // step} Hz")


def _read_series(value: object, layout: SeriesLayout) -> Lines:
    series = read_series(value, layout)
    num_channels, num_steps = series.shape
    step = -(-num_steps // MAX_POINTS)
    shown = np.nan_to_num(np.asarray(series[:MAX_CHANNELS, ::step], dtype=np.float64))
    more = f", {MAX_CHANNELS} shown" if num_channels > MAX_CHANNELS else ""
    return Lines(shown.tolist(), f"{num_steps} steps, channels: {num_channels}{more}")


def _read_points(value: Path | np.ndarray) -> Media:
    from PIL import Image

    cloud = read_cloud(value)
    density = draw_map(cloud.points, PIXELS)
    picture = Image.fromarray((density * 255).astype(np.uint8))
    return Media("image/jpeg", _encode_jpeg(picture), f"{len(cloud.points):,} points from above")


def _read_text(value: str | Path) -> str:
    return shorten(read_text(value), MAX_LETTERS)


def _read_cells(value: Mapping[str, object]) -> Cells:
    cells = {}
    shown = [(name, cell) for name, cell in value.items() if not encodes_date(name)]
    for name, cell in shown[:MAX_CELLS]:
        text = f"{cell:.6g}" if isinstance(cell, float) else str(cell)
        cells[shorten(name)] = "-" if cell is None else shorten(text)
    return cells


READ: dict[str, Callable[[Any], Value]] = {
    "image": _read_image,
    "audio": _read_sound,
    "text": _read_text,
    "points": _read_points,
    "video": _read_video,
    "tabular": _read_cells,
}
