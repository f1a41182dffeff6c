"""Formats that are not read: what they are, and what to do."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from mmrun.data.subfiles import open_file
from mmrun.data.suffixes import SUFFIXES as SUFFIXES_BY_KIND


class Unreadable(NamedTuple):
    """A format that is not read.

    Attributes:
        kind: of the modality that its files are.
        name: with its article.
        mend: what the user can do.
    """

    kind: str
    name: str
    mend: str


_HEIC = Unreadable("image", "a HEIC picture", "convert it to JPEG or PNG")
_SVG = Unreadable("image", "an SVG drawing", "export it as PNG")
_RAW = Unreadable("image", "a RAW photograph", "develop it to JPEG, PNG or 16-bit TIFF")
_NIFTI = Unreadable("image", "a NIfTI volume", "save its slices as PNG or .npy, several in a cell")
_AAC = Unreadable("audio", "AAC or WMA sound", "convert it to FLAC, WAV or MP3")
_MP4 = Unreadable(
    "video",
    "video or sound in an MP4 file",
    "give videos a column of their own, or convert the sound to FLAC, WAV or MP3",
)
_PDF = Unreadable("text", "a PDF", "save its text as .txt, or its pages as PNG")
_DOCUMENT = Unreadable("text", "a text document of an office suite", "save it as .txt")
_MATLAB = Unreadable("series", "a MATLAB or HDF5 file", "save the series as .npy or .csv")
_SCAN = Unreadable("points", "a LAS or E57 scan", "save it as .ply, .pcd or .npy")

SUFFIXES = {
    **dict.fromkeys((".heic", ".heif", ".avci"), _HEIC),
    **dict.fromkeys((".svg", ".svgz"), _SVG),
    **dict.fromkeys((".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"), _RAW),
    **dict.fromkeys((".nii", ".nii.gz"), _NIFTI),
    **dict.fromkeys((".m4a", ".aac", ".wma", ".amr"), _AAC),
    ".pdf": _PDF,
    **dict.fromkeys((".docx", ".doc", ".odt", ".rtf", ".pptx", ".pages"), _DOCUMENT),
    **dict.fromkeys((".las", ".laz", ".e57"), _SCAN),
    **dict.fromkeys((".mat", ".h5", ".hdf5"), _MATLAB),
}
LIBRARIES = {  # of the extras `medical` and `video`
    **dict.fromkeys((".dcm", ".dicom"), "pydicom"),
    **dict.fromkeys((".edf", ".bdf"), "edfio"),
    **dict.fromkeys(SUFFIXES_BY_KIND["video"], "av"),
}
BRANDS = {b"heic": _HEIC, b"heix": _HEIC, b"mif1": _HEIC, b"msf1": _HEIC, b"M4A ": _AAC, b"mp42": _MP4, b"isom": _MP4}
STARTS = {b"%PDF": _PDF, b"<svg": _SVG, b"<?xml": _SVG, b"PK\x03\x04": _DOCUMENT, b"\xff\xf1": _AAC, b"\xff\xf9": _AAC}
HEAD_BYTES = 64


def find_unreadable(name: str) -> Unreadable | None:
    """Return the format of a file that is not read, by its name; None if it may be read.

    Args:
        name: of the file.
    """
    stem, dot, suffix = name.lower().rpartition(".")
    unreadable = SUFFIXES.get(dot + suffix)
    return SUFFIXES.get(f".nii.{suffix}") if unreadable is None and stem.endswith(".nii") else unreadable


def find_missing_library(name: str) -> str | None:
    """Return the library that reads a file if it is not installed, else None.

    Args:
        name: of the file.
    """
    library = LIBRARIES.get(name[name.rfind(".") :].lower())
    return library if library is not None and not _is_installed(library) else None


@cache
def _is_installed(library: str) -> bool:
    return find_spec(library) is not None


def describe_unreadable(unreadable: Unreadable) -> str:
    """Return what a file is, and what to do: "a HEIC picture, which is not read; convert it to JPEG or PNG".

    Args:
        unreadable: its format.
    """
    return f"{unreadable.name}, which is not read; {unreadable.mend}"


def describe_content(file: Path) -> str | None:
    """Return what a file with a misleading name is and what to do, by how it starts; None if that is not known.

    Args:
        file: that could not be read.
    """
    try:
        with open_file(file) as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return None
    unreadable = BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None
    for start, kind in STARTS.items():
        if head.lstrip().startswith(start):
            unreadable = kind
    return None if unreadable is None else describe_unreadable(unreadable)
