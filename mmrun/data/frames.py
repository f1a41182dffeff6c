"""Videos that are folders of images: which files are frames, in which order, and which folders are clips."""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import groupby
from posixpath import basename, dirname, splitext

from mmrun.data.limits import MAX_FRAME_FILES
from mmrun.data.suffixes import SUFFIXES
from mmrun.errors import DataError

FRAME_SUFFIXES = SUFFIXES["image"] - {".gif"}  # which is a video itself
NUMBERED = re.compile(r"(.*?)(\d{1,9})")  # the name of a frame: frame_0001
MIN_CLIP = 4  # numbered images in a folder, from which it may be a clip


def is_frame(name: str) -> bool:
    """Return whether a file may be a frame of a video.

    Args:
        name: of the file.
    """
    return splitext(name)[1].lower() in FRAME_SUFFIXES


def _split_numbers(name: str) -> list[tuple[int, str, str]]:
    """Return what sorts names by the numbers in them, so that 2.png precedes 10.png."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    digits = [part.lstrip("0") if part.isdecimal() else "" for part in parts]
    return [(len(number), number, part) for number, part in zip(digits, parts, strict=True)]


def list_frames(folder: str) -> list[str]:
    """Return the names of the images in a folder, in the order of the numbers in them.

    Args:
        folder: that exists; folders inside are not read.

    Raises:
        DataError: it holds no image, or too many.
    """
    frames = list_files(folder, FRAME_SUFFIXES, MAX_FRAME_FILES, "frames")
    if not frames:
        raise DataError(f"'{basename(folder)}' is a folder without an image; name a video, or a folder of its frames")
    return frames


def list_files(folder: str, suffixes: Collection[str], limit: int, noun: str) -> list[str]:
    """Return the names of some files in a folder, in the order of the numbers in them.

    Args:
        folder: that exists; folders inside and hidden files are not read.
        suffixes: of the names, in lower case.
        limit: most files that are read.
        noun: what they are called in an error.

    Raises:
        DataError: there are more.
    """
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if splitext(entry.name)[1].lower() in suffixes and not entry.name.startswith("."):
                names.append(entry.name)
            if len(names) > limit:
                raise DataError(f"'{basename(folder)}' holds more than {limit:,} {noun}, which is refused")
    return sorted(names, key=_split_numbers)


def find_clips(names: Iterable[str], depth: int) -> dict[str, list[str]]:
    """Return the frames of each clip, if every image lies in a folder of consecutively numbered ones.

    Args:
        names: of the images of a data set, with their folders.
        depth: number of folders that are splits or classes; clips lie in one more.

    Returns:
        By folder, its images in order; empty where the images are not those of clips.
    """
    clips = {}
    for folder, files in groupby(sorted(names, key=lambda name: (dirname(name), _split_numbers(name))), dirname):
        clips[folder] = list(files)
    is_clip = all(folder.count("/") == depth and _are_consecutive(files) for folder, files in clips.items())
    return clips if is_clip and "" not in clips else {}


def _are_consecutive(files: list[str]) -> bool:
    matches = [NUMBERED.fullmatch(splitext(basename(name))[0]) for name in files]
    if len(files) < MIN_CLIP or not all(matches):
        return False
    stems = [(match[1], int(match[2])) for match in matches if match]
    first = stems[0]
    return stems == [(first[0], first[1] + place) for place in range(len(stems))]


def describe_clips(clips: Mapping[str, list[str]]) -> str:
    """Describe how folders of frames are read, and how to read each image instead.

    Args:
        clips: that `find_clips` returned.
    """
    return (
        f"each of {len(clips):,} folders of numbered images is read as one video; to read the images one by one, list "
        "them in a CSV"
    )
