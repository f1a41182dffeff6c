"""Reads image files and arrays: headers, pictures of 8 bits per channel, and deeper ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmrun.data.limits import check_image, ignore_size_warnings, open_array
from mmrun.data.preprocess.deep_png import read_deep_png
from mmrun.data.preprocess.dicom import is_dicom, read_dicom, read_dicom_header
from mmrun.data.subfiles import open_file, path_or_content
from mmrun.data.unreadable import describe_content
from mmrun.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
PALETTE_ORDERS = {"RGB", "BGR"}  # of the bytes of a palette; in others, grey is not recognised
UINT16_MAX = 65535


class Header(NamedTuple):
    """What is known of an image without decoding its pixels.

    Attributes:
        width: pixels.
        height: pixels.
        channels: without transparency: 1 grey, 3 colour, or as many as an array has.
        mode: Pillow's, or type and channels of an array.
        is_deep: whether it has more than 8 bits per channel.
        is_reduced: whether only the upper 8 of 16 bits can be read.
        has_alpha: whether pixels can be transparent.
        is_animated: whether it has more than one frame or page.
    """

    width: int
    height: int
    channels: int
    mode: str
    is_deep: bool = False
    is_reduced: bool = False
    has_alpha: bool = False
    is_animated: bool = False


def is_array(value: Path | np.ndarray) -> bool:
    """Return whether an image is an array, or a file that is read as one: .npy or DICOM.

    Args:
        value: a file or an array.
    """
    return isinstance(value, np.ndarray) or value.suffix.lower() == ".npy" or is_dicom(value)


def read_header(value: Path | np.ndarray) -> Header:
    """Read what is known of an image without decoding it.

    Args:
        value: a file, or an array [H, W] or [C, H, W].

    Raises:
        DataError: the file is not an image.
    """
    if isinstance(value, Path) and is_dicom(value):
        dicom = read_dicom_header(value)
        channels, height, width = dicom.shape
        mode = f"DICOM {'float32' if dicom.is_deep else 'uint8'} x {channels}"
        return Header(width, height, channels, mode, dicom.is_deep, is_animated=dicom.num_frames > 1)
    if is_array(value):
        pixels = read_array(value)
        channels, height, width = pixels.shape
        is_deep = pixels.dtype not in (np.uint8, np.bool_)
        return Header(width, height, channels, f"{pixels.dtype} x {channels}", is_deep)
    assert isinstance(value, Path)
    with open_frames(value) as image:
        return _describe(image)


@contextmanager
def open_frames(file: Path) -> Iterator["ImageFile"]:
    """Open an image, which may be animated, without decoding it.

    Errors of decoding inside are translated, too.

    Args:
        file: of any format that Pillow reads.

    Raises:
        DataError: it is not an image, or beyond the limits.
    """
    from PIL import Image, UnidentifiedImageError

    ignore_size_warnings()
    try:
        with Image.open(path_or_content(file)) as image:
            check_image(image, file.name)
            yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        unreadable = describe_content(file)
        if unreadable:
            raise DataError(f"{file.name} is {unreadable}") from None
        hint = "; save one of 5 or more channels as .npy" if file.suffix.lower() in (".tif", ".tiff") else ""
        raise DataError(f"{file.name} is damaged or not an image (UnidentifiedImageError){hint}") from None
    except Image.DecompressionBombError as error:  # beyond twice Pillow's own limit
        raise DataError(f"{file.name} is refused: {error}") from None
    except Exception as error:  # Pillow's exception classes depend on the format and on what is wrong
        raise DataError(f"{file.name} is damaged or not an image ({type(error).__name__})") from None


def open_image(value: Path, size: int | None = None) -> "Image":
    """Open the first frame of an image of 8 bits per channel, rotated according to its EXIF orientation.

    Args:
        value: a file.
        size: pixels that are needed; a JPEG is decoded at 1/2, 1/4 or 1/8 of its resolution where that suffices. None:
            full resolution.

    Raises:
        DataError: the file cannot be read.
    """
    from PIL import ImageOps

    with open_frames(value) as image:
        if size is not None:
            image.draft(None, (size, size))
        upright = ImageOps.exif_transpose(image)
        upright.load()
        return upright


def composite(image: "Image", background: Sequence[int]) -> "Image":
    """Lay an image with transparency on a background.

    Args:
        image: of any mode.
        background: red, green and blue, 0 to 255.
    """
    from PIL import Image

    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)


def read_array(value: Path | np.ndarray) -> np.ndarray:
    """Read an image that is an array.

    Args:
        value: an array or a .npy file, [H, W] or [C, H, W], or a DICOM file.

    Returns:
        [C, H, W] of the type that was read; a file is mapped, not read.

    Raises:
        DataError: it is not an image.
    """
    if isinstance(value, Path) and is_dicom(value):
        return read_dicom(value)
    name = value.name if isinstance(value, Path) else "the image"
    array = open_array(value) if isinstance(value, Path) else value
    shape = list(array.shape)
    if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "fiub":
        raise DataError(f"{name} is {array.dtype} {shape}, but must be numbers [height, width] or [channels, ...]")
    if array.ndim == 3 and array.shape[2] <= 4 < array.shape[0]:
        raise DataError(f"{name} is {array.dtype} {shape}; its channels must come first: [channels, height, width]")
    return array if array.ndim == 3 else array[None]


def read_deep(value: Path | np.ndarray, background: Sequence[int]) -> np.ndarray:
    """Read an image of more than 8 bits per channel.

    Args:
        value: a file or an array whose header says that it is deep.
        background: red, green and blue behind transparent pixels, 0 to 255.

    Returns:
        [C, H, W] float32, in the file's own unit.

    Raises:
        DataError: the file cannot be read.
    """
    if is_array(value):
        return np.asarray(read_array(value), dtype=np.float32)
    assert isinstance(value, Path)
    if read_header(value).mode in GREY_MODES:
        return np.asarray(open_image(value), dtype=np.float32)[None]
    pixels = _read_deep_colours(value).astype(np.float32)  # [C, H, W], with alpha last
    if len(pixels) in (1, 3):
        return pixels
    colour, alpha = pixels[:-1], pixels[-1:] / UINT16_MAX
    behind = np.array(background[: len(colour)], dtype=np.float32)[:, None, None] * (UINT16_MAX / 255)
    composited: np.ndarray = colour * alpha + behind * (1 - alpha)
    return composited


def _read_deep_colours(file: Path) -> np.ndarray:
    """Read all 16 bits of a PNG file, of which Pillow would read 8: uint16 [C, H, W], upright."""
    try:
        import torch
        from torchvision.io import ImageReadMode, decode_image
    except ImportError:  # beside an exported model
        return read_deep_png(file)
    try:
        with open_file(file) as stream:
            content = torch.frombuffer(bytearray(stream.read()), dtype=torch.uint8)
        pixels: np.ndarray = decode_image(content, ImageReadMode.UNCHANGED, apply_exif_orientation=True).numpy()
    except (RuntimeError, OSError) as error:
        raise DataError(f"{file.name} is damaged or not an image ({type(error).__name__})") from None
    return pixels


def _describe(image: "ImageFile") -> Header:
    """Return the header of an image that is opened, but not decoded."""
    arguments = image.tile[0].args if image.tile else ""
    raw_mode = str(arguments if isinstance(arguments, str) or not arguments else arguments[0])
    is_grey = image.mode in GREY_MODES or (image.mode == "P" and _has_grey_palette(image))
    has_16_bits = image.mode in ("RGB", "RGBA") and ";16" in raw_mode
    if has_16_bits and raw_mode.startswith("L"):  # Pillow opens grey with alpha as RGBA
        is_grey = True
    can_be_deep = image.format == "PNG"  # Pillow reads the upper 8 bits of colours; torchvision reads all of a PNG
    return Header(
        width=image.width,
        height=image.height,
        channels=1 if is_grey else 3,
        mode=image.mode,
        is_deep=image.mode.startswith(("I", "F")) or (has_16_bits and can_be_deep),
        is_reduced=has_16_bits and not can_be_deep,
        has_alpha=image.mode in ALPHA_MODES or "transparency" in image.info,
        is_animated=bool(getattr(image, "is_animated", False)),
    )


def _has_grey_palette(image: "ImageFile") -> bool:
    palette = image.palette
    if palette is None or (palette.rawmode or palette.mode) not in PALETTE_ORDERS:
        return False
    colours = np.frombuffer(bytes(palette.palette), dtype=np.uint8)
    colours = colours[: len(colours) // 3 * 3].reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())
