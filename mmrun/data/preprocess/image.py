"""Images: PNG, JPEG, WebP and everything else that Pillow reads, .npy files, or arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from mmrun.data.preprocess.image_files import (
    Header,
    composite,
    is_array,
    open_image,
    read_array,
    read_deep,
    read_header,
)
from mmrun.data.preprocess.lengths import format_share, inspect_rows
from mmrun.data.table import Column
from mmrun.errors import DataError
from mmrun.values import PositiveInt, Range

if TYPE_CHECKING:
    from PIL.Image import Image

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of Pillow, by number of channels
Level = Annotated[int, Range(at_least=0, at_most=255)]
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)[:, None, None]  # ITU-R 601, as Pillow
NEGLIGIBLE = 1e-6  # a range that is narrower, relative to its values, is rounding


class Pixels:
    """Decodes images to [C, H, W]: the shorter side is resized to `size`, then the centre is cropped.

    Pixels are uint8. If a training image is deep, with more than 8 bits per channel, they are float32 from 0 to 1, and
    deep images are scaled by the range of values in the training rows: over all channels of grey and colour, of each
    channel where there are more.

    Args:
        size: H and W, pixels.
        channels: C: 1 for grey, 3 for colour, 2 or 4 to keep transparency beside them, or that of arrays; None: as the
            images, and without transparency.
        background: grey level, or red, green and blue, behind transparent pixels, 0 to 255.

    Attributes:
        ranges: lowest and highest value of deep training images, of all channels or of each; empty: there are none.
        metadata: in_channels and image_size, for encoders.
        notes: what is changed in images that are not plain.
    """

    def __init__(
        self,
        size: Annotated[int, Range(at_least=1, at_most=8192)],
        channels: PositiveInt | None = None,
        background: Level | tuple[Level, Level, Level] = 128,
    ) -> None:
        self.size = size
        self.channels = channels
        self.background = [background] * 3 if isinstance(background, int) else list(background)
        self.ranges: list[tuple[float, float]] = []
        self.metadata: dict[str, object] = {}
        self.notes: list[str] = []

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Read the headers of all images for their channels, and the deep training images for their range.

        Args:
            column: the images.
            rows: numbers of the training rows [N].
        """
        headers = inspect_rows(column, read_header)
        readable = [header for header in headers if header is not None]
        if self.channels is None:
            self.channels = _choose_channels(readable)
        deep_values = []
        for row in rows.tolist():
            header = headers[row]
            if header is not None and header.is_deep:
                deep_values.append(column.values[row])
        self.ranges = self._measure_ranges(Column(column.kind, deep_values))
        self.notes = _describe_images(readable, self)
        self._update_metadata()

    def decode(self, value: "Path | np.ndarray | Image") -> dict[str, np.ndarray]:
        """Decode one row.

        Args:
            value: a file, an array [H, W] or [C, H, W], or a picture that is open, such as a frame of a video; an array
                of uint8 and the right shape is returned as it is.

        Returns:
            [C, size, size] uint8, or float32 where training rows are deep, under the name "".

        Raises:
            DataError: the file cannot be read, or differs in depth or channels from the training rows.
        """
        assert self.channels is not None, "fit or restore first"
        if not isinstance(value, Path | np.ndarray):
            return {"": self._decode_image(value, None)}
        if read_header(value).is_deep:
            return {"": self._decode_deep(value)}
        pixels = self._decode_shallow(value)
        return {"": pixels.astype(np.float32) / 255 if self.ranges else pixels}

    def state(self) -> dict[str, object]:
        """Return size, channels, background and ranges."""
        return {
            "size": self.size,
            "channels": self.channels,
            "background": self.background,
            "ranges": [list(pair) for pair in self.ranges],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of another object."""
        self.size, self.channels, self.background = state["size"], state["channels"], state["background"]
        self.ranges = [(low, high) for low, high in state["ranges"]]
        self._update_metadata()

    def _update_metadata(self) -> None:
        self.metadata = {"in_channels": self.channels, "image_size": self.size}

    def _measure_ranges(self, deep: Column) -> list[tuple[float, float]]:
        """Return the lowest and highest finite value of deep images, of all channels or of each if there are others."""

        def measure(value: Path | np.ndarray) -> np.ndarray:  # [2] or [2, C]
            pixels = read_deep(value, self.background)
            pixels = pixels.reshape(1 if len(pixels) in (1, 3) else len(pixels), -1)
            is_finite = np.isfinite(pixels)
            low = np.where(is_finite, pixels, np.inf).min(axis=1)
            return np.stack([low, np.where(is_finite, pixels, -np.inf).max(axis=1)])

        ranges = [pair for pair in inspect_rows(deep, measure) if pair is not None]
        num_ranges = 1 if self.channels in MODES and self.channels != 2 else self.channels
        ranges = [pair for pair in ranges if pair.shape[1] == num_ranges]
        if not ranges:
            return []
        stacked = np.stack(ranges)  # [n, 2, 1 or C]
        low, high = stacked[:, 0].min(axis=0), stacked[:, 1].max(axis=0)
        return [(float(a), float(b)) if a <= b else (0.0, 1.0) for a, b in zip(low, high, strict=True)]

    def _decode_deep(self, value: Path | np.ndarray) -> np.ndarray:  # float32 [C, size, size], 0..1
        pixels = read_deep(value, self.background)
        if not self.ranges:
            raise DataError(f"{_name(value)} has more than 8 bits per channel, but no training image has; convert it")
        if len(self.ranges) not in (1, len(pixels)):
            raise _wrong_channels(value, len(pixels), self.channels)
        low, high = np.array(self.ranges, dtype=np.float32).T[:, :, None, None]  # [1 or C, 1, 1]
        width = high - low
        is_constant = width <= NEGLIGIBLE * np.maximum(np.abs(low), np.abs(high))
        scaled = (pixels - low) / np.where(is_constant, 1, width)
        scaled = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
        return _resize_channels(_match_channels(scaled, self.channels, value), self.size)

    def _decode_shallow(self, value: Path | np.ndarray) -> np.ndarray:  # uint8 [C, size, size]
        from PIL import Image

        if not is_array(value):
            assert isinstance(value, Path)
            return self._decode_image(open_image(value, self.size), value)
        array = read_array(value)
        if array.dtype == np.bool_:
            array = array.astype(np.uint8) * 255
        if array.shape == (self.channels, self.size, self.size):
            return np.asarray(array)
        if len(array) in (1, 3) and self.channels in (1, 3):
            return self._decode_image(Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0)), value)
        if len(array) != self.channels:
            raise _wrong_channels(value, len(array), self.channels)
        resized: np.ndarray = np.rint(_resize_channels(array.astype(np.float32), self.size)).astype(np.uint8)
        return resized

    def _decode_image(self, image: "Image", value: Path | np.ndarray | None) -> np.ndarray:  # uint8 [C, size, size]
        """Convert an image to the channels of all, and composite it on the background if transparency is not one."""
        if self.channels not in MODES:
            raise _wrong_channels(value, 1 if image.mode in ("1", "L") else 3, self.channels)
        try:
            if self.channels in (1, 3) and image.has_transparency_data:
                image = composite(image, self.background)
            image = image.convert(MODES[self.channels])
        except ValueError:
            raise DataError(
                f"{_name(value)} has the mode {image.mode}, which is not supported; save it as RGB"
            ) from None
        pixels = np.asarray(_resize_and_crop(image, self.size))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _choose_channels(headers: Sequence[Header]) -> int:
    """Return 1 if all images are grey, 3 if some are in colour, or the number of most arrays where they have others."""
    counts = [header.channels for header in headers]
    if not counts or set(counts) <= {1, 3}:
        return max(counts, default=3)
    return max(sorted(set(counts)), key=counts.count)


def _describe_images(headers: Sequence[Header], pixels: Pixels) -> list[str]:
    """Return what is shown of the images, and how many are changed in which way."""
    total, size, channels = len(headers), pixels.size, pixels.channels
    num_grey = sum(header.channels == 1 for header in headers)
    shown = f"{size} x {size} pixels, {channels} channel{'' if channels == 1 else 's'}"
    if channels == 1 and num_grey < total:
        shown += f"; {total - num_grey:,} of {total:,} images are in colour and become grey"
    elif channels == 3 and 0 < num_grey < total:
        shown += f"; {num_grey:,} of {total:,} images are grey"
    shown += describe_crop([(header.width, header.height) for header in headers])
    background = ", ".join(map(str, pixels.background))
    ranges = ", ".join(f"{low:g} to {high:g}" for low, high in pixels.ranges)
    changes = [
        (
            sum(header.has_alpha for header in headers) if channels in (1, 3) else 0,
            f"have transparency and are laid on [{background}] (preprocess.background)",
        ),
        (
            sum(header.is_deep for header in headers),
            f"have more than 8 bits per channel; {ranges}, the range of the training rows, becomes 0 to 1",
        ),
        (
            sum(header.is_reduced for header in headers),
            "have 16 bits per colour, of which the upper 8 are read; save them as PNG or .npy",
        ),
        (sum(header.is_animated for header in headers), "have several frames or pages; the first one is read"),
    ]
    return [shown, *(f"{count:,} of {total:,} images {change}" for count, change in changes if count)]


def describe_crop(sizes: Sequence[tuple[int, int]]) -> str:
    """Describe how much of the area lies outside of the square that is read; "" where all are squares.

    Args:
        sizes: width and height of each image or video.
    """
    squares = [min(size) ** 2 / (size[0] * size[1]) for size in sizes]
    if not squares or np.mean(squares) == 1:
        return ""
    return f"; cropped to the centre, which cuts {format_share(1 - float(np.mean(squares)))} of the area"


def _resize_and_crop(image: "Image", size: int) -> "Image":
    from PIL import Image

    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def _resize_channels(pixels: np.ndarray, size: int) -> np.ndarray:  # float32 [C, H, W] -> [C, size, size]
    from PIL import Image

    return np.stack([np.asarray(_resize_and_crop(Image.fromarray(channel), size)) for channel in pixels])


def _match_channels(pixels: np.ndarray, channels: int | None, value: Path | np.ndarray) -> np.ndarray:
    """Return [C, H, W] with the given number of channels: grey repeated, or colour as its luminance."""
    if len(pixels) == channels:
        return pixels
    if len(pixels) == 1 and channels == 3:
        return pixels.repeat(3, axis=0)
    if len(pixels) == 3 and channels == 1:
        grey: np.ndarray = (pixels * LUMINANCE).sum(axis=0, keepdims=True)
        return grey
    raise _wrong_channels(value, len(pixels), channels)


def _wrong_channels(value: Path | np.ndarray | None, num_channels: int, channels: int | None) -> DataError:
    return DataError(
        f"{_name(value)} has {num_channels} channels, but the encoder reads {channels}; give all the same number"
    )


def _name(value: Path | np.ndarray | None) -> str:
    return value.name if isinstance(value, Path) else "the image"
