"""Pictures: PNG, JPEG, WebP and what else Pillow reads, or arrays."""

from pathlib import Path
from typing import Any

import numpy as np

from mmrun.data.table import Column
from mmrun.errors import DataError

NUM_LOOKED_AT = 32  # training rows that decide whether a data set is grey


class Pixels:
    """Decode to uint8 [C, H, W]: the shorter side is scaled to `size`, the middle is kept."""

    def __init__(self, size: int, channels: int | None = None) -> None:
        self.size = size  # pixels
        self.channels = channels  # 1 grey, 3 colour; None: as the training rows are
        self.metadata: dict[str, Any] = {}

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Infer from the first training rows whether images are grey or coloured."""
        if self.channels is None:
            self.channels = 1 if all(_is_grey(p) for p in _readable(column, rows, self.size)) else 3
        self._state_metadata()

    def decode(self, value: Path | np.ndarray) -> dict[str, np.ndarray]:
        """Return one picture; an array is uint8 [H, W] or [C, H, W]."""
        assert self.channels is not None, "fit or restore first"
        if isinstance(value, np.ndarray):
            pixels = value if value.ndim == 3 else value[None]
            if pixels.shape == (self.channels, self.size, self.size):
                return {"": pixels}
        return {"": _square(open_image(value, self.size), self.size, self.channels)}

    def state(self) -> dict[str, Any]:
        """Return size and channels."""
        return {"size": self.size, "channels": self.channels}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` was taken from."""
        self.size, self.channels = state["size"], state["channels"]
        self._state_metadata()

    def _state_metadata(self) -> None:
        self.metadata = {"in_channels": self.channels, "image_size": self.size}


def _readable(column: Column, rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Decode the first training rows in colour; one that cannot be read is reported when all rows are decoded."""
    pictures = []
    for row in rows[:NUM_LOOKED_AT]:
        try:
            value = column.values[row]
            pictures += [] if value is None else [_square(open_image(value, size), size, 3)]
        except DataError:
            continue
    return pictures


def _is_grey(pixels: np.ndarray) -> bool:
    return bool((pixels == pixels[:1]).all())


def open_image(value: Path | np.ndarray, size: int | None = None) -> Any:  # PIL.Image.Image
    """Return the upright picture; a JPEG is decoded at a half, a quarter ... where that is enough for `size` pixels."""
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
        raise DataError(f"{value.name} is damaged, or no picture ({type(error).__name__})") from None


def _square(image: Any, size: int, channels: int) -> np.ndarray:  # uint8 [C, size, size]
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits a pixel: keep the upper 8, where PIL would cut off at 255
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    image = image.convert("L" if channels == 1 else "RGB")
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
