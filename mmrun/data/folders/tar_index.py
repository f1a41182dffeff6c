"""Lists the files of uncompressed tar archives, with where each lies: they are read there, and never unpacked."""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mmrun.data.folders.listing import Listing, is_hidden
from mmrun.data.limits import MAX_LISTED
from mmrun.data.subfiles import format_subfile, stat_file
from mmrun.errors import DataError

FOLDER = "tar_indexes"  # in the cache


class Member(NamedTuple):
    """A file in a tar archive.

    Attributes:
        name: in the archive.
        offset: of its first byte.
        size: bytes.
    """

    name: str
    offset: int
    size: int


def list_shards(shards: Sequence[Path], root: Path, cache: Path | None) -> Listing:
    """List the files of tar archives in the order in which they lie there.

    Args:
        shards: the archives.
        root: a folder in which they all are.
        cache: folder that keeps their indexes; None: they are read anew.

    Returns:
        By their names in the archive; in several archives, after the archive's name without suffix.

    Raises:
        DataError: an archive is damaged, truncated or hostile.
    """
    files, hidden = {}, []
    for shard in shards:
        place = shard.relative_to(root).as_posix()
        start = "" if len(shards) == 1 else f"{place[: -len('.tar')]}/"
        for name, offset, size in _read_index(shard, cache):
            if any(map(is_hidden, name.split("/"))):
                hidden.append(start + name)
            else:
                files[start + name] = format_subfile(place, offset, size, name)
        if len(files) > MAX_LISTED:
            raise DataError(f"{root.name}: has more than {MAX_LISTED:,} files")
    name = shards[0].name if len(shards) == 1 else root.resolve().name
    return Listing(name, root, files, hidden=hidden)


def check_member_name(name: str, archive: str) -> str:
    """Return the name of a file in an archive in one form, "a/b.png"; refuse one that leads elsewhere.

    Args:
        name: as the archive holds it.
        archive: its name.

    Raises:
        DataError: the name is absolute, has "..", or cannot be a file's.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    is_drive = path.parts and path.parts[0].endswith(":")
    if not path.parts or path.is_absolute() or is_drive or ".." in path.parts or not name.isprintable():
        raise DataError(f"{archive}: a file called {name[:80]!r} is refused; pack the folder again")
    return path.as_posix()


def _read_index(shard: Path, cache: Path | None) -> Sequence[Member]:
    """Return the members of an archive, from the cache if it is the same archive."""
    try:
        identity = f"{os.path.abspath(shard)} {stat_file(shard).stamp}"
    except OSError as error:
        raise DataError(f"{shard}: cannot be read ({error.strerror})") from None
    key = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    file = None if cache is None else cache / FOLDER / f"{key}.json"
    if file is not None and file.is_file():
        try:
            return [Member(str(name), int(offset), int(size)) for name, offset, size in json.loads(file.read_text())]
        except (OSError, ValueError, TypeError):
            pass  # damaged: it is written again
    members = list(_iterate_members(shard))
    if file is not None:
        _write_index(file, members)
    return members


def _write_index(file: Path, members: Sequence[Member]) -> None:
    """Keep an index where that is possible: the archive can be read again."""
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(members))
        partial.replace(file)
    except OSError:
        partial.unlink(missing_ok=True)


def iterate_files(opened: tarfile.TarFile, archive: str) -> Iterator[tarfile.TarInfo]:
    """Yield the files of an open archive under names in one form; folders are left out.

    Args:
        opened: the archive.
        archive: its name.

    Raises:
        DataError: it holds links or devices, names that lead elsewhere, or is damaged.
    """
    last = -1
    while (member := opened.next()) is not None:
        if opened.offset <= last or member.size < 0:  # a header that leads back would never end
            raise DataError(f"{archive}: is damaged (a file of negative size); write it again")
        last = opened.offset
        opened.members = []  # type: ignore[attr-defined]  # tarfile would keep all
        if member.isdir():
            continue
        member.name = check_member_name(member.name, archive)
        if not member.isreg() or member.issparse():
            raise DataError(f"{archive}: '{member.name[:80]}' is no plain file, but a link, say; replace it by a copy")
        yield member


def _iterate_members(shard: Path) -> Iterator[Member]:
    size = shard.stat().st_size
    try:
        with tarfile.open(shard, "r:") as opened:
            for file in iterate_files(opened, shard.name):
                if file.offset_data + file.size > size:
                    raise DataError(f"{shard.name}: is truncated in '{file.name[:80]}'; copy it again")
                yield Member(file.name, file.offset_data, file.size)
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError) as error:
        raise DataError(f"{shard.name}: is damaged or not a tar archive ({type(error).__name__})") from None
