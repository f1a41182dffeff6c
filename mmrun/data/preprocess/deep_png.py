"""Reads PNG files of 16 bits per channel with numpy alone, where torchvision is not installed."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmrun.data.subfiles import open_file
from mmrun.errors import DataError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type
ORIENTATION_TAG = 0x0112  # of EXIF
# Passes of an interlaced file: first column and row, and the steps to the next ones
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def read_deep_png(path: Path) -> np.ndarray:
    """Read the pixels of a PNG file; its size has to be checked before.

    Args:
        path: of a file with 16 bits per channel.

    Returns:
        uint16 [C, H, W], alpha last, rotated according to its EXIF orientation.

    Raises:
        DataError: the file is damaged.
    """
    header, compressed, exif = b"", b"", b""
    with open_file(path) as stream:
        chunks = list(_iterate_chunks(stream.read(), path.name))
    for name, content in chunks:
        if name == b"IHDR" and not header:  # the size of a second one was not checked
            header = content
        elif name == b"IDAT":
            compressed += content
        elif name == b"eXIf" and not compressed:  # libpng ignores one below the pixels
            exif = content
    try:
        width, height, _, colour_type, _, _, is_interlaced = struct.unpack(">IIBBBBB", header)
        channels = CHANNELS[colour_type]
        passes = ADAM7 if is_interlaced else ((0, 0, 1, 1),)
        pixels = np.zeros((height, width, channels), dtype=np.uint16)
        data = zlib.decompressobj().decompress(compressed, height * (2 * channels * width + 1) + len(passes) * height)
        for x, y, step_x, step_y in passes:
            part = pixels[y::step_y, x::step_x]
            size = part.shape[0] * (2 * channels * part.shape[1] + 1) if part.size else 0
            if size:
                part[:] = _decode_pass(data[:size], part.shape)
            data = data[size:]
    except (KeyError, ValueError, struct.error, zlib.error) as error:
        raise DataError(f"{path.name} is damaged or not an image ({type(error).__name__})") from None
    return _rotate(pixels.transpose(2, 0, 1), _read_orientation(exif))


def _read_orientation(exif: bytes) -> int:
    from PIL import Image

    tags = Image.Exif()
    tags.load(exif)
    return int(tags.get(ORIENTATION_TAG, 1))


def _rotate(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn [C, H, W] upright, as EXIF numbers the ways in which a picture can lie."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(0, 2, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return pixels[:, rows, columns]


def _iterate_chunks(content: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the content of each chunk."""
    start = len(SIGNATURE)
    while start + 12 <= len(content):
        [length] = struct.unpack_from(">I", content, start)
        body = content[start + 4 : start + 8 + length]
        if content[start + 8 + length : start + 12 + length] != struct.pack(">I", zlib.crc32(body)):
            raise DataError(f"{name} is damaged or not an image (a checksum differs)")
        yield body[:4], body[4:]
        start += 12 + length


def _decode_pass(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Undo the filters of the rows (W3C, Portable Network Graphics, 2003): uint16 [H, W, C]."""
    height, width, channels = shape
    lines = np.frombuffer(data, dtype=np.uint8).reshape(height, 2 * channels * width + 1)
    filters, filtered = lines[:, 0], lines[:, 1:].reshape(height, width, 2 * channels)
    decoded = np.zeros((height + 1, width + 1, 2 * channels), dtype=np.int16)  # below and right of zeros
    for diagonal in range(height + width - 1):  # a pixel depends on those to the left, above, and left of that
        rows = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        columns = diagonal - rows
        left, above, corner = decoded[rows + 1, columns], decoded[rows, columns + 1], decoded[rows, columns]
        predictions = np.stack([np.zeros_like(left), left, above, (left + above) // 2, _predict(left, above, corner)])
        predicted = predictions[filters[rows], np.arange(len(rows))]
        decoded[rows + 1, columns + 1] = (filtered[rows, columns] + predicted) % 256
    return decoded[1:, 1:].astype(np.uint8).view(">u2")


def _predict(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return Paeth's predictor: the neighbour that is nearest to left + above - corner."""
    to_left, to_above = np.abs(above - corner), np.abs(left - corner)
    to_corner = np.abs(left + above - 2 * corner)
    nearest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)
