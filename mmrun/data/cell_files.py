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
        self._folder = None if cache is None else cache / FOLDER
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def store(self, content: bytes) -> Path:
        """Return the path of a file with this content.

        Args:
            content: of a cell.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            path = self._open_folder() / hashlib.sha256(content).hexdigest()[:40]
            if not path.exists():
                partial = path.with_name(f"{path.name}.{os.getpid()}")
                partial.write_bytes(content)
                partial.replace(path)
            return path
        except OSError as error:
            folder = self._folder or tempfile.gettempdir()
            raise StorageError(f"{folder}: cannot be written ({error.strerror}); set cache=FOLDER") from None

    def _open_folder(self) -> Path:
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="mmrun-cells-")
            self._folder = Path(self._temporary.name)
            _TEMPORARY.append(self._temporary)
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder


_TEMPORARY: list["tempfile.TemporaryDirectory[str]"] = []  # kept until the process ends: tables name their files


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
