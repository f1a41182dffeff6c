"""Unpacks zip and compressed tar archives, once, into the cache. An archive may come from anyone."""

import gzip
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from mmrun.data.cell_files import open_temporary
from mmrun.data.file_digests import MEMORY, FileDigests
from mmrun.data.folders.listing import is_hidden
from mmrun.data.folders.tar_index import check_member_name, iterate_files
from mmrun.data.limits import MAX_FILE_BYTES, MAX_LISTED, check_unpacked_size
from mmrun.errors import DataError, StorageError

FOLDER = "archives"  # in the cache
ZIP_SUFFIXES = (".zip",)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
BLOCK = 1 << 20  # bytes copied at once
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile),
    *(EOFError, ValueError, OverflowError, NotImplementedError),
)


class Content(NamedTuple):
    """A file in an archive.

    Attributes:
        name: in the archive, in one form.
        size: bytes, as the archive claims.
        stream: its content.
    """

    name: str
    size: int
    stream: IO[bytes]


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive that has to be unpacked, by its name."""
    return path.name.lower().endswith(ZIP_SUFFIXES + TAR_SUFFIXES)


def unpack(archive: Path, cache: Path | None) -> Path:
    """Return the folder with the files of an archive.

    Args:
        archive: of zip or tar.
        cache: folder that keeps them for later runs, under the digest of the archive; None: they are removed when the
            process ends.

    Raises:
        DataError: the archive is damaged, too large, or holds what may not be unpacked.
        StorageError: the files cannot be written.
    """
    [digest] = FileDigests(None if cache is None else cache / MEMORY).digest([os.path.abspath(archive)])
    parent = open_temporary("mmrun-archives-") if cache is None else cache / FOLDER
    name = hashlib.sha256(digest.encode()).hexdigest()[:32]
    folder = parent / name / _strip_suffix(archive.name)
    if folder.is_dir():
        return folder
    partial = parent / f".{name}.{os.getpid()}"
    try:
        (partial / folder.name).mkdir(parents=True)
        _unpack(archive, partial / folder.name)
        if not folder.is_dir():
            partial.rename(parent / name)
    except DAMAGE as error:
        raise _describe_damage(archive, error) from None
    except RuntimeError as error:  # what zipfile says of a password
        raise DataError(f"{archive.name}: cannot be unpacked ({error}); unpack it yourself") from None
    except OSError as error:
        if folder.is_dir():  # another process was quicker
            return folder
        if error.errno is None:  # of a decompressor, not of the disk
            raise _describe_damage(archive, error) from None
        raise StorageError(f"{parent}: cannot be written ({error.strerror}); set cache=FOLDER") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _describe_damage(archive: Path, error: Exception) -> DataError:
    return DataError(f"{archive.name}: is damaged or no archive ({type(error).__name__}); download it again")


def _unpack(archive: Path, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    total, count = 0, 0
    with _open_contents(archive) as contents:
        for content in contents:
            total, count = total + content.size, count + 1
            check_unpacked_size(total, archive, "unpack it yourself")
            if total > free or content.size > MAX_FILE_BYTES or count > MAX_LISTED:
                raise DataError(f"{archive.name}: unpacks to more than is read, {total:,} bytes; unpack it yourself")
            if any(map(is_hidden, content.name.split("/"))):
                continue
            target = folder / content.name
            if target.exists():
                raise DataError(f"{archive.name}: '{content.name}' occurs twice; pack the folder again")
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as written:
                _copy(content, written, archive.name)


def _copy(content: Content, target: IO[bytes], archive: str) -> None:
    """Copy no more than the archive claims, whatever its streams yield."""
    remaining = content.size
    while remaining > 0:
        block = content.stream.read(min(BLOCK, remaining))
        if not block:
            raise DataError(f"{archive}: '{content.name}' is truncated; download it again")
        target.write(block)
        remaining -= len(block)


@contextmanager
def _open_contents(archive: Path) -> Iterator[Iterator[Content]]:
    if archive.name.lower().endswith(ZIP_SUFFIXES):
        with zipfile.ZipFile(archive) as opened_zip:
            yield _iterate_zip(opened_zip, archive.name)
    else:
        with tarfile.open(archive, "r:*") as opened_tar:
            yield _iterate_tar(opened_tar, archive.name)


def _iterate_zip(opened: zipfile.ZipFile, archive: str) -> Iterator[Content]:
    for info in opened.infolist():
        if info.is_dir():
            continue
        name = check_member_name(info.filename, archive)
        mode = info.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise DataError(f"{archive}: '{name}' is no plain file, but a link, say; replace it by a copy")
        with opened.open(info) as stream:
            yield Content(name, info.file_size, stream)


def _iterate_tar(opened: tarfile.TarFile, archive: str) -> Iterator[Content]:
    for file in iterate_files(opened, archive):
        stream = opened.extractfile(file)
        assert stream is not None  # of a plain file
        yield Content(file.name, file.size, stream)
    assert opened.fileobj is not None
    opened.fileobj.read(BLOCK)  # what fills the last block up, and the checksum of the whole after it


def _strip_suffix(name: str) -> str:
    """Return the name of an archive as that of a folder."""
    suffix = max((suffix for suffix in ZIP_SUFFIXES + TAR_SUFFIXES if name.lower().endswith(suffix)), key=len)
    return name[: -len(suffix)].lstrip(".") or "archive"
