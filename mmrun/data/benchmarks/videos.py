"""Sounds and frames of videos, which ffmpeg extracts beside them: nothing here decodes a video."""

import shlex
from collections.abc import Sequence

from mmrun.data.benchmarks.source import Source
from mmrun.errors import DataError

SOUND = '-vn -ac 1 -ar 16000 "${1%.*}.wav"'
FRAME = '-vf thumbnail -frames:v 1 "${1%.*}.jpg"'  # the most typical one


def _format_extraction(source: Source, suffix: str, options: str) -> str:
    """Return the command that extracts something from all videos of a folder, beside each video."""
    script = shlex.quote(f'ffmpeg -nostdin -v error -n -i "$1" {options}')
    return f"find {shlex.quote(str(source.folder))} -name '*{suffix}' -exec sh -c {script} _ {{}} \\;"


def require_sounds(source: Source, folders: Sequence[str], suffix: str) -> None:
    """Raise an error if no folder has sounds: they have to be extracted from the videos first.

    Args:
        source: of the benchmark.
        folders: relative names.
        suffix: of the videos.

    Raises:
        DataError: there is no .wav file, and missing ones are not allowed.
    """
    if source.allow_missing or any(source.list_files(folder, "*.wav") for folder in folders):
        return
    command = _format_extraction(source, suffix, SOUND)
    raise DataError(
        f"{source.folder}: there is no .wav beside the {suffix} files; leave their cells empty with --allow-missing, "
        f"or extract them: {command}"
    )


def find_frame(source: Source, folder: str, stem: str) -> str | None:
    """Return an extracted frame of a video: FOLDER/STEM.jpg, or the middle one of FOLDER/STEM/*.jpg; None if none is.

    Args:
        source: of the benchmark.
        folder: relative name.
        stem: of the video's name.
    """
    name = f"{folder}/{stem}.jpg"
    if source.has_file(name):
        return name
    frames = source.list_files(f"{folder}/{stem}", "*.jpg")
    return frames[len(frames) // 2] if frames else None


def has_frames(source: Source, folders: Sequence[str]) -> bool:
    """Return whether frames were extracted from any video.

    Args:
        source: of the benchmark.
        folders: relative names.
    """
    candidates = list(folders)
    for folder in folders:
        candidates += source.list_folders(folder)[:1]
    return any(source.list_files(folder, "*.jpg") for folder in candidates)


def note_frames(source: Source, suffix: str) -> None:
    """Note that no frames are there, and how to extract them.

    Args:
        source: of the benchmark.
        suffix: of the videos.
    """
    command = _format_extraction(source, suffix, FRAME)
    source.notes.append(f"no frames are there, so there is no column image; to add it, extract them: {command}")
