"""Images: PNG, JPEG, WebP and everything else that Pillow reads, or arrays."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from mmrun.data.table import Column
from mmrun.errors import DataError
from mmrun.values import Range

if TYPE_CHECKING:
    from PIL.Image import Image

NUM_INSPECTED = 32  # training rows that decide whether a data set is greyscale


class Pixels:
    """Decodes images to uint8 [C, H, W]: the shorter side is resized to `size`, then the centre is cropped.

    Args:
        size: H and W, pixels.
        channels: C, 1 for grey or 3 for colour; None: as the training rows.

    Attributes:
        metadata: in_channels and image_size, for encoders.
    """

    def __init__(
        self, size: Annotated[int, Range(at_least=1, at_most=8192)], channels: Literal[1, 3] | None = None
    ) -> None:
        self.size = size
        self.channels = channels
        self.metadata: dict[str, object] = {}

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Infer from the first training rows whether images are grey or in colour.

        Args:
            column: the images.
            rows: numbers of the training rows [N].
        """
        if self.channels is None:
            images = _decode_first(column, rows, self.size)
            self.channels = 1 if all(_is_grey(pixels) for pixels in images) else 3
        self._update_metadata()

    def decode(self, value: Path | np.ndarray) -> dict[str, np.ndarray]:
        """Decode one row.

        Args:
            value: a file, or an array of uint8 [H, W] or [C, H, W]; an array of the right shape is returned as it is.

        Returns:
            [C, size, size] uint8, under the name "".

        Raises:
            DataError: the file cannot be read.
        """
        assert self.channels is not None, "fit or restore first"
        if isinstance(value, np.ndarray):
            pixels = value if value.ndim == 3 else value[None]
            if pixels.shape == (self.channels, self.size, self.size):
                return {"": pixels}
        return {"": _resize_and_crop(open_image(value, self.size), self.size, self.channels)}

    def state(self) -> dict[str, object]:
        """Return size and channels."""
        return {"size": self.size, "channels": self.channels}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state.

        Args:
            state: of another object.
        """
        self.size, self.channels = state["size"], state["channels"]
        self._update_metadata()

    def _update_metadata(self) -> None:
        self.metadata = {"in_channels": self.channels, "image_size": self.size}


def open_image(value: Path | np.ndarray, size: int | None = None) -> "Image":
    """Open an image, rotated according to its EXIF orientation.

    Args:
        value: a file, or an array of uint8 [H, W] or [C, H, W].
        size: pixels that are needed; a JPEG is decoded at 1/2, 1/4 or 1/8 of its resolution where that suffices. None:
            full resolution.

    Raises:
        DataError: the file cannot be read.
    """
    from PIL import Image, ImageOps

    if isinstance(value, np.ndarray):
        return Image.fromarray(value if value.ndim == 2 else value.transpose(1, 2, 0).squeeze())
    try:
        with Image.open(value) as image:
            if size is not None:
                image.draft(None, (size, size))
            upright = ImageOps.exif_transpose(image)
            upright.load()
            return upright
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{value.name} is damaged or not an image ({type(error).__name__})") from None


def _decode_first(column: Column, rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Decode the first rows in colour; an unreadable one is skipped here, and reported when all rows are decoded."""
    images = []
    for row in rows[:NUM_INSPECTED]:
        try:
            value = column.values[row]
            if value is not None:
                images.append(_resize_and_crop(open_image(value, size), size, 3))
        except DataError:
            continue
    return images


def _is_grey(pixels: np.ndarray) -> bool:
    return bool((pixels == pixels[:1]).all())


def _resize_and_crop(image: "Image", size: int, channels: int) -> np.ndarray:  # uint8 [C, size, size]
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits per pixel: keep the upper 8; Pillow would clip at 255
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    image = image.convert("L" if channels == 1 else "RGB")
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
