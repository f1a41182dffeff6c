"""Reads DICOM pictures; needs the extra `medical`. No value of a header is shown: it may name the patient."""

import logging
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from mmrun.data.limits import MAX_PIXELS, MAX_VALUES
from mmrun.data.subfiles import open_file
from mmrun.errors import DataError
from mmrun.installation import format_pip_command

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom")
META_GROUP = 2  # of the elements about the file
DEFLATED = "1.2.840.10008.1.2.1.99"  # transfer syntax: the whole file is compressed, to any ratio


class DicomHeader(NamedTuple):
    """What is known of a DICOM file without decoding its pixels.

    Attributes:
        shape: [C, H, W] of a frame.
        is_deep: whether it has more than 8 bits per channel, or is rescaled.
        num_frames: of which the first one is read.
    """

    shape: tuple[int, int, int]
    is_deep: bool
    num_frames: int


def is_dicom(value: object) -> bool:
    """Return whether an image is a DICOM file, by its name.

    Args:
        value: a file, or anything else.
    """
    return isinstance(value, Path) and value.suffix.lower() in SUFFIXES


def read_dicom_header(path: Path) -> DicomHeader:
    """Read what is known of a file without decoding its pixels.

    Args:
        path: of the file.

    Raises:
        DataError: it is damaged, too large, or holds no picture; or pydicom is not installed.
    """
    return _describe(_open(path, with_pixels=False), path)


def read_dicom(path: Path) -> np.ndarray:
    """Read the first frame of a file: rescaled to the unit that it states, and light where there is more of it.

    Args:
        path: of the file.

    Returns:
        [C, H, W] uint8, or float32 where it is deep; MONOCHROME1 is inverted.

    Raises:
        DataError: as for `read_dicom_header`; or its compression is not decoded.
    """
    dataset = _open(path, with_pixels=True)
    header = _describe(dataset, path)
    from pydicom.pixels.processing import apply_color_lut, apply_rescale
    from pydicom.pixels.utils import pixel_array

    try:
        pixels = pixel_array(dataset, index=0)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, dataset)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            pixels = _invert(pixels, int(dataset.BitsStored))
        if _is_rescaled(dataset):
            pixels = apply_rescale(pixels, dataset)
    except Exception as error:  # what is raised depends on the compression, and on what is wrong
        raise DataError(_describe_failure(dataset, path, error)) from None
    channels_first = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    converted: np.ndarray = channels_first.astype(np.float32 if header.is_deep else np.uint8)
    return converted


def _open(path: Path, with_pixels: bool) -> "Dataset":
    try:
        from pydicom import dcmread
    except ImportError:
        command = format_pip_command("install", "pydicom")
        raise DataError(f"{path.name}: DICOM files need pydicom; install it with {command}") from None
    _ignore_warnings()
    try:
        with open_file(path) as file:
            if _read_transfer_syntax(file) != DEFLATED:
                return dcmread(file, stop_before_pixels=not with_pixels)
    except Exception as error:
        raise DataError(f"{path.name} is damaged or not a DICOM file ({type(error).__name__}); replace it") from None
    raise DataError(f"{path.name} is a deflated DICOM file, which is not read; save it uncompressed")


def _read_transfer_syntax(file: BinaryIO) -> str:
    """Read how a file is encoded, without what follows its first group of elements; the file stays at its start."""
    from pydicom.filereader import read_dataset, read_preamble

    read_preamble(file, force=False)
    meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != META_GROUP)
    file.seek(0)
    return str(meta.TransferSyntaxUID)


@cache
def _ignore_warnings() -> None:
    """Silence pydicom's warnings and logs, which quote headers."""
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def _describe(dataset: "Dataset", path: Path) -> DicomHeader:
    try:
        height, width, bits = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated)
        num_frames = int(dataset.get("NumberOfFrames") or 1)
        is_colour = dataset.PhotometricInterpretation == "PALETTE COLOR" or int(dataset.SamplesPerPixel) == 3
    except (AttributeError, TypeError, ValueError):
        raise DataError(f"{path.name} is a DICOM file without a picture; leave it out") from None
    if min(height, width, num_frames) < 1 or height * width > MAX_PIXELS:
        raise DataError(
            f"{path.name} has {width} x {height} pixels; 1 to {MAX_PIXELS / 1e6:.0f} million are read, so resize it"
        )
    if height * width * num_frames * (3 if is_colour else 1) > MAX_VALUES:
        raise DataError(f"{path.name} has {num_frames:,} frames of {width} x {height} pixels; split it")
    return DicomHeader((3 if is_colour else 1, height, width), bits > 8 or _is_rescaled(dataset), num_frames)


def _is_rescaled(dataset: "Dataset") -> bool:
    """Return whether stored numbers are to be converted to another unit."""
    return "RescaleSlope" in dataset or "ModalityLUTSequence" in dataset


def _invert(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Return grey levels of which the lowest was white, so that the highest is."""
    highest = (1 << bits) - 1 if pixels.dtype.kind == "u" else -1
    inverted: np.ndarray = highest - pixels.astype(np.int64)
    return inverted


def _describe_failure(dataset: "Dataset", path: Path, error: Exception) -> str:
    syntax = dataset.file_meta.TransferSyntaxUID
    if isinstance(error, NotImplementedError | RuntimeError) and not syntax.is_private and syntax.is_compressed:
        command = format_pip_command("install", "pylibjpeg[all]")
        return f"{path.name} is compressed as {syntax.name}, which pydicom decodes with pylibjpeg; {command}"
    return f"{path.name} has damaged pixels ({type(error).__name__}); replace it"
