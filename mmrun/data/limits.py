"""Limits on files and cells that a stranger may have made: what a header claims is checked before memory is taken.

A few bytes can claim to be a huge image, recording, array or table. Whatever is beyond these limits is an error of its
row, in `mmrun data check` and in training alike.
"""

import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmrun.data.subfiles import open_file, parse_subfile
from mmrun.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from soundfile import SoundFile

MAX_PIXELS = 1 << 26  # of an image: 67 million, 8192 x 8192
MAX_FRAMES = 1 << 18  # of a video: 2.4 hours at 30 frames a second
MAX_VIDEO_PIXELS = 1 << 38  # of all its frames: 2.3 hours of 1920 x 1080
MAX_VALUES = 1 << 27  # of a recording or array: 134 million, 46 minutes at 48 kHz
MAX_POINT_TEXT = 1 << 27  # bytes of a point cloud written as text: 128 MiB, 4 million points
MAX_POINT_HEADER = 1 << 16  # bytes before the points of a PLY or PCD file
MAX_POINT_COLUMNS = 32  # coordinates and features of a point
MAX_SAMPLE_RATE = 1 << 20  # Hz; ultrasound is recorded at up to 500 kHz
MAX_FILE_BYTES = 1 << 31  # of any file that a cell names: 2 GiB
MAX_TEXT_BYTES = 1 << 24  # of a text file: 16 MiB
MAX_LINE_BYTES = 1 << 26  # of a CSV or JSON Lines file: 64 MiB
MAX_COLUMNS = 20_000  # of a table
MAX_ITEMS = 256  # files in one cell
MAX_FRAME_FILES = 1 << 14  # of one video
MAX_STREAM_FILES = 1 << 20  # of one stream of pictures or scans: 14 hours at 20 Hz
MAX_WINDOW_STEPS = 1 << 16  # of a series around the time of a row
MAX_DEPTH = 32  # of lists and objects inside each other
MAX_ROWS_PER_BYTE = 64  # of a Parquet or Arrow file; rows that differ cannot be stored in less
MIN_ROWS_CHECKED = 1 << 20  # files with fewer rows may repeat one row

MAX_LISTED = 10_000_000  # files in a folder or an archive
MAX_FOLDER_DEPTH = 32  # of folders inside each other
MAX_UNPACKED_BYTES = 1 << 40  # of an archive: 1 TiB
MAX_UNPACKED_RATIO = 200  # of the bytes in an archive to its size; deflate reaches 1,000 on zeros
MIN_UNPACKED_CHECKED = 1 << 28  # archives of less than 256 MiB are not worth a limit on the ratio

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # the start of an escape that is half a character

EXTERNAL_FORMATS = ("EPS",)  # images that Pillow passes to another program: Ghostscript


@cache
def ignore_size_warnings() -> None:
    """Silence Pillow's warning about large images: `check_image` decides."""
    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def check_image(image: "Image", name: str) -> None:
    """Check an image that is open but not yet decoded.

    Args:
        image: of which only the header was read.
        name: of the file.

    Raises:
        DataError: it has more than MAX_PIXELS pixels, or another program would have to decode it.
    """
    if image.format in EXTERNAL_FORMATS:
        raise DataError(f"{name} is {image.format}, which is not read; convert it to PNG")
    _check_pixels(*image.size, name)


def _check_pixels(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{name} has {width} x {height} pixels; more than {MAX_PIXELS / 1e6:.0f} million are refused, so resize it"
        )


def check_video(width: int, height: int, num_frames: int, name: str) -> None:
    """Check what the header of a video claims.

    Args:
        width: pixels.
        height: pixels.
        num_frames: in all; 0 where a header does not say it.
        name: of the file.

    Raises:
        DataError: its frames are too large, or too many.
    """
    _check_pixels(width, height, name)
    if num_frames > MAX_FRAMES or width * height * num_frames > MAX_VIDEO_PIXELS:
        raise DataError(
            f"{name} has more than {MAX_FRAMES:,} frames, or {MAX_VIDEO_PIXELS / 1e9:.0f} billion pixels in all, which "
            "is refused; cut it into clips"
        )


def check_audio(file: "SoundFile", name: str) -> None:
    """Check a recording that is open but not yet read.

    Args:
        file: of which only the header was read.
        name: of the file.

    Raises:
        DataError: its sample rate or its number of samples is beyond the limits.
    """
    if not 1 <= file.samplerate <= MAX_SAMPLE_RATE:
        raise DataError(f"{name} has a sample rate of {file.samplerate} Hz; at most {MAX_SAMPLE_RATE} Hz are read")
    num_values = file.frames * file.channels
    if num_values > MAX_VALUES:
        raise DataError(
            f"{name} claims {num_values:,} samples; more than {MAX_VALUES / 1e6:.0f} million are refused, so split it"
        )


def open_array(path: Path, limited: bool = True) -> np.ndarray:
    """Open a .npy file; pickled objects and archives are not read.

    Args:
        path: of the file.
        limited: whether it may have at most MAX_VALUES values; False: the caller reads it in small parts.

    Returns:
        The array, mapped and not yet read.

    Raises:
        DataError: the file is damaged, shorter than its header claims, or has more than MAX_VALUES values.
    """
    try:
        # This reads the header, and compares what it claims with the size of the file
        array: np.ndarray = _map_array(path)
    except Exception as error:  # NumPy's exception classes depend on what is wrong with the header
        raise DataError(f"{path.name} is damaged or not a numeric array ({type(error).__name__})") from None
    if limited and array.size > MAX_VALUES:
        raise DataError(
            f"{path.name} has {array.size:,} values; more than {MAX_VALUES / 1e6:.0f} million are refused, so split it"
        )
    return array


def _map_array(path: Path) -> np.ndarray:
    """Map an array file, which may lie in an archive."""
    subfile = parse_subfile(path)
    if subfile is None:
        return np.lib.format.open_memmap(path, mode="r")
    with open_file(path) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(stream)
        start = stream.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > subfile.size - start:
        raise ValueError("pickled objects, or less than the header claims")
    order: Literal["F", "C"] = "F" if is_fortran else "C"
    return np.memmap(subfile.archive, dtype, "r", subfile.offset + start, shape, order)


def read_text(path: Path) -> bytes:
    """Read a text file.

    Raises:
        DataError: it is larger than MAX_TEXT_BYTES.
        OSError: it cannot be read.
    """
    with open_file(path) as stream:
        content = stream.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise DataError(f"{path.name} is larger than {MAX_TEXT_BYTES >> 20} MiB; shorten it")
    return content


def parse_json(text: str | bytes, shrink: Callable[[dict[str, Any]], object] | None = None) -> object:
    """Parse JSON.

    Args:
        text: all of it.
        shrink: replaces each object once it is parsed, so that large files need less memory.

    Raises:
        ValueError: it is not JSON, an object has two equal keys, a text holds half a character, or lists and objects
            lie more than MAX_DEPTH deep inside each other.
    """
    decoder = DECODER
    if shrink is not None:
        decoder = json.JSONDecoder(object_pairs_hook=lambda pairs: shrink(_build_object(pairs)))
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    try:
        value: object = decoder.decode(text)
        _check_depth(value)
    except RecursionError:
        raise ValueError(f"more than {MAX_DEPTH} brackets inside each other") from None
    _check_characters(text, value)
    return value


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key '{key}' occurs twice in an object")
    return values


DECODER = json.JSONDecoder(object_pairs_hook=_build_object)


def _check_characters(text: str, value: object) -> None:
    """Raise a ValueError if an escape such as \\ud83d is half a character: no file and no tokenizer can hold it."""
    if SURROGATE.search(text) is None:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{ascii(error.object[error.start])[1:-1]} is half a character") from None


def check_column_count(num_columns: int, name: str) -> None:
    """Check how many columns a table has.

    Args:
        num_columns: their number.
        name: of the file.

    Raises:
        DataError: there are more than MAX_COLUMNS.
    """
    if num_columns > MAX_COLUMNS:
        raise DataError(
            f"{name}: has {num_columns:,} columns, more than {MAX_COLUMNS:,}; write the numbers of one signal into a "
            "file per row (.npy), and name these files in one column"
        )


def check_row_count(num_rows: int, num_bytes: int, name: str) -> None:
    """Check how many rows a Parquet or Arrow file claims.

    Args:
        num_rows: that it claims.
        num_bytes: its size.
        name: of the file.

    Raises:
        DataError: so many rows cannot be stored in so few bytes, unless all are the same.
    """
    if num_rows > MIN_ROWS_CHECKED and num_rows > MAX_ROWS_PER_BYTE * num_bytes:
        raise DataError(f"{name} claims {num_rows:,} rows in {num_bytes:,} bytes; write it again")


def check_unpacked_size(num_bytes: int, path: Path, mend: str) -> None:
    """Check how large the files in an archive claim to be in all.

    Args:
        num_bytes: that they claim.
        path: of the archive.
        mend: what the user can do.

    Raises:
        DataError: it is more than the archive can reasonably hold.
    """
    limit = max(MIN_UNPACKED_CHECKED, MAX_UNPACKED_RATIO * path.stat().st_size)
    if num_bytes > min(limit, MAX_UNPACKED_BYTES):
        raise DataError(f"{path.name}: unpacks to more than is read, {num_bytes:,} bytes; {mend}")


def _check_depth(value: object, depth: int = 0) -> None:
    """Raise a ValueError if lists and objects lie too deep inside each other."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} brackets inside each other")
    items = list(value.values()) if isinstance(value, dict) else value
    if isinstance(items, list):
        for item in items:
            if isinstance(item, dict | list):
                _check_depth(item, depth + 1)
