"""Pictures, sounds and videos that lie in the cells of a file, stored as files of their own."""

import hashlib
import os
import tempfile
from pathlib import Path

from mmrun.errors import StorageError

FOLDER = "cells"  # in the cache
IMAGE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
AUDIO_STARTS = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")
VIDEO_STARTS = (b"\x1aE\xdf\xa3",)  # WebM and Matroska
CONTAINERS = {
    (b"RIFF", b"WEBP"): "image",
    (b"RIFF", b"WAVE"): "audio",
    (b"FORM", b"AIFF"): "audio",
    (b"RIFF", b"AVI "): "video",
}
VIDEO_BRANDS = (b"isom", b"iso2", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ", b"3gp4", b"3gp5")


class CellFiles:
    """Stores the bytes of cells as files, equal ones once.

    Args:
        cache: folder that keeps them for later runs; None: they are removed when the process ends.
    """

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache

    def store(self, content: bytes) -> Path:
        """Return the path of a file with this content.

        Args:
            content: of a cell.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            folder = open_temporary("mmrun-cells-") if self._cache is None else self._cache / FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / hashlib.sha256(content).hexdigest()[:40]
            if not path.exists():
                partial = path.with_name(f"{path.name}.{os.getpid()}")
                partial.write_bytes(content)
                partial.replace(path)
            return path
        except OSError as error:
            folder = self._cache or Path(tempfile.gettempdir())
            raise StorageError(f"{folder}: cannot be written ({error.strerror}); set cache=FOLDER") from None


_TEMPORARY: dict[str, "tempfile.TemporaryDirectory[str]"] = {}  # kept until the process ends: tables name their files


def open_temporary(prefix: str) -> Path:
    """Return a folder that is removed when the process ends, one for each prefix.

    Args:
        prefix: of its name.
    """
    if prefix not in _TEMPORARY:
        _TEMPORARY[prefix] = tempfile.TemporaryDirectory(prefix=prefix)
    return Path(_TEMPORARY[prefix].name)


def infer_content(content: bytes) -> str | None:
    """Return whether bytes are those of an image, of audio or of a video, by how they start; None if of neither.

    Args:
        content: of a cell.
    """
    if content.startswith(IMAGE_STARTS):
        return "image"
    if content.startswith(VIDEO_STARTS) or (content[4:8] == b"ftyp" and content[8:12] in VIDEO_BRANDS):
        return "video"
    return "audio" if content.startswith(AUDIO_STARTS) else CONTAINERS.get((content[:4], content[8:12]))
