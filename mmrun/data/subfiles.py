"""Files that lie inside an uncompressed tar archive, read where they are: `shards/0.tar/@1536+20480/cat/1.png`.

The path holds where the content starts in the archive, and its size, so that it can be opened, hashed and packed like
any other path, in any process, without an index.
"""

import os
import re
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import NamedTuple

SUBFILE = re.compile(r"(.*\.tar)/@(\d{1,18})\+(\d{1,18})/.+", re.DOTALL | re.IGNORECASE)


class Subfile(NamedTuple):
    """Where a file lies in an archive.

    Attributes:
        archive: its path.
        offset: of the first byte.
        size: bytes.
    """

    archive: str
    offset: int
    size: int


class FileStat(NamedTuple):
    """What is known of a file without reading it.

    Attributes:
        size: bytes.
        stamp: changes whenever the file is written.
        mtime_ns: time of the last change of its content.
        mode: type and permissions.
    """

    size: int
    stamp: str
    mtime_ns: int
    mode: int


def format_subfile(archive: str, offset: int, size: int, name: str) -> str:
    """Return the path of a file in an archive.

    Args:
        archive: path of a .tar file.
        offset: of the file's first byte.
        size: bytes.
        name: of the file in the archive.
    """
    return f"{archive}/@{offset}+{size}/{name}"


def parse_subfile(path: str | os.PathLike[str]) -> Subfile | None:
    """Return where a file lies in an archive; None for a file of its own.

    Args:
        path: of either.
    """
    text = os.fspath(path)
    match = SUBFILE.fullmatch(text) if "/@" in text else None
    return None if match is None else Subfile(match[1], int(match[2]), int(match[3]))


def stat_file(path: str | os.PathLike[str]) -> FileStat:
    """Return size and times of a file, of the archive's if it lies in one.

    Raises:
        OSError: there is no such file, or its archive is too short.
        ValueError: the path cannot be one.
    """
    subfile = parse_subfile(path)
    stat = os.stat(path if subfile is None else subfile.archive)
    stamp = f"{stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_size} {stat.st_ino}"
    if subfile is None:
        return FileStat(stat.st_size, stamp, stat.st_mtime_ns, stat.st_mode)
    if subfile.offset + subfile.size > stat.st_size:
        raise FileNotFoundError(f"{subfile.archive} is truncated")
    return FileStat(subfile.size, stamp, stat.st_mtime_ns, stat.st_mode)


def open_file(path: str | os.PathLike[str]) -> BufferedReader | BytesIO:
    """Open a file, which may lie in an archive, for reading.

    Raises:
        OSError: it cannot be read.
    """
    subfile = parse_subfile(path)
    if subfile is None:
        return open(path, "rb")
    with open(subfile.archive, "rb") as archive:
        archive.seek(subfile.offset)
        content = archive.read(subfile.size)
    if len(content) < subfile.size:
        raise OSError(f"{subfile.archive} is truncated")
    return BytesIO(content)


def path_or_content(path: Path) -> Path | BufferedReader | BytesIO:
    """Return what a library can open: the path itself, or the content of a file in an archive.

    Raises:
        OSError: the archive cannot be read.
    """
    return path if parse_subfile(path) is None else open_file(path)


def name_file(path: Path) -> Path:
    """Return a path as it is shown: without the place of a file in its archive."""
    subfile = parse_subfile(path)
    if subfile is None:
        return path
    return Path(subfile.archive) / os.fspath(path).removeprefix(format_subfile(*subfile, ""))
