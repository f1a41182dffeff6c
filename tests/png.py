"""Writes PNG files of 16 bits per channel, which Pillow cannot."""

import struct
import zlib

from mmrun.data.preprocess.deep_png import ADAM7, SIGNATURE

COLOUR_TYPES = {2: 4, 3: 2, 4: 6}  # by number of channels


def chunk(name, content):
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def filter_line(kind, line, above, width):
    """Filter a line of bytes as the PNG specification writes it, one byte after the other."""
    filtered = bytearray([kind])
    for place, byte in enumerate(line):
        left = line[place - width] if place >= width else 0
        corner = above[place - width] if place >= width else 0
        estimate = left + above[place] - corner
        distances = [abs(estimate - left), abs(estimate - above[place]), abs(estimate - corner)]
        paeth = (left, above[place], corner)[distances.index(min(distances))]
        predicted = (0, left, above[place], (left + above[place]) // 2, paeth)[kind]
        filtered.append((byte - predicted) % 256)
    return bytes(filtered)


def filter_pass(pixels):
    _, width, channels = pixels.shape
    if pixels.size == 0:
        return b""
    lines = [line.tobytes() for line in pixels.astype(">u2")]
    above = [bytes(2 * channels * width), *lines]
    return b"".join(filter_line(row % 5, line, above[row], 2 * channels) for row, line in enumerate(lines))


def write_png(path, pixels, interlaced=False):
    height, width, channels = pixels.shape
    passes = [pixels[y::v, x::h] for x, y, h, v in ADAM7] if interlaced else [pixels]
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, int(interlaced))
    data = zlib.compress(b"".join(map(filter_pass, passes)))
    path.write_bytes(SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
