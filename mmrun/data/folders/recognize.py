"""Recognises a path as what it is, and opens it."""

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from mmrun.data.folders import archives, classes, hub, metadata, samples, saved, tables
from mmrun.data.folders.listing import Listing, list_folder
from mmrun.data.folders.opened import Opened
from mmrun.data.folders.tar_index import list_shards
from mmrun.errors import DataError, nearest

RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")  # of numbers: shards-{000..127}.tar
HINT = "set dataset.path=FILE"
MAX_SHARDS = 100_000  # that such a range names
LAYOUTS = (
    "a table (CSV, JSON, Parquet), or several of the same columns",
    "metadata.csv, .jsonl or .parquet with a column file_name",
    "what save_to_disk of Hugging Face datasets writes",
    "tar shards or files of WebDataset (000.png and 000.cls)",
    classes.DESCRIPTION,
)


class Read(Protocol):
    """Reads a folder in one layout."""

    def __call__(self, listing: Listing, limit: int | None, encoding: str | None) -> Opened:
        """Return its rows.

        Args:
            listing: of the folder.
            limit: number of rows that are needed; None: all.
            encoding: of text files that are not Unicode.
        """


def open_path(
    path: str,
    cache: Path | None = None,
    limit: int | None = None,
    encoding: str | None = None,
    hint: str = HINT,
) -> Opened:
    """Open a table, a folder, an archive, shards or a data set of the Hugging Face hub.

    Args:
        path: as typed.
        cache: folder for what has to be unpacked or downloaded; None: a temporary one.
        limit: read only so many rows from the start, or of each of several files; None: all.
        encoding: of text files that are not Unicode.
        hint: ends the error message if there is no such path.

    Raises:
        DataError: it does not exist, cannot be read, or is in no layout that is known.
    """
    if path.startswith(hub.START):
        return _open_folder(hub.download(path, cache), cache, limit, encoding, hint)
    if RANGE.search(path) and not os.path.exists(path):
        return _open_shards(path, cache, limit, encoding)
    file = Path(path).expanduser()
    if file.is_dir():
        return _open_folder(file, cache, limit, encoding, hint)
    if not file.is_file():
        raise DataError(f"dataset.path: {path} does not exist; {_find_remedy(path, hint)}")
    if file.name.lower().endswith(".tar"):
        listing = _enter_only_folder(list_shards([file], file.parent, cache))
        read = _choose_media_layout(listing)
        if read is not None:
            return read(listing, limit, encoding)
    if archives.is_archive(file):
        return _open_folder(archives.unpack(file, cache), cache, limit, encoding, hint)
    return tables.open_table(file, limit, encoding)


def _find_remedy(path: str, hint: str) -> str:
    if "\\" in path and Path(path.replace("\\", "/")).expanduser().exists():
        return "write / instead of \\"
    if "," in path:
        return "several files are a sweep: add -m"
    file = Path(path).expanduser()
    siblings = os.listdir(file.parent) if file.parent.is_dir() else []
    return nearest(file.name, siblings).removeprefix("; ") or hint


def _open_folder(path: Path, cache: Path | None, limit: int | None, encoding: str | None, hint: str) -> Opened:
    listing = _enter_only_folder(list_folder(path))
    read = _choose_layout(listing)
    if read is not None:
        return read(listing, limit, encoding)
    shards = [path / cell for cell in listing.files.values() if cell.lower().endswith(".tar")]
    if shards:
        return samples.read(list_shards(shards, path, cache), limit, encoding)
    raise DataError(_describe_unknown(path, listing) + ("" if hint == HINT else f"; {hint}"))


def _open_shards(pattern: str, cache: Path | None, limit: int | None, encoding: str | None) -> Opened:
    """Open the files that a range of numbers names."""
    paths = list(itertools.islice(_expand_ranges(os.path.expanduser(pattern)), MAX_SHARDS + 1))
    if len(paths) > MAX_SHARDS:
        raise DataError(f"dataset.path: {pattern} names more than {MAX_SHARDS:,} files")
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing or not paths:
        raise DataError(f"dataset.path: {missing[0] if missing else pattern} does not exist; correct the range")
    root = Path(os.path.commonpath([os.path.dirname(path) or "." for path in paths]))
    if all(path.lower().endswith(".tar") for path in paths):
        return samples.read(list_shards([Path(path) for path in paths], root, cache), limit, encoding)
    names = [Path(path).relative_to(root).as_posix() for path in paths]
    return tables.read(Listing(os.path.basename(pattern), root, {name: name for name in names}), limit, encoding)


def _expand_ranges(pattern: str) -> Iterator[str]:
    match = RANGE.search(pattern)
    if match is None:
        yield pattern
        return
    width = len(match[1])
    for number in range(int(match[1]), int(match[2]) + 1):
        yield from _expand_ranges(f"{pattern[: match.start()]}{number:0{width}}{pattern[match.end() :]}")


def _enter_only_folder(listing: Listing) -> Listing:
    """Return the files of the folder that a folder or archive holds and nothing else, or of the one inside it."""
    while all("/" in name for name in listing.files) and len(listing.top_folders()) == 1:
        listing = listing.enter(listing.top_folders()[0])
    return listing


def _choose_layout(listing: Listing) -> Read | None:
    """Return what reads a folder; None if no layout fits."""
    if saved.recognize(listing):
        return saved.read
    if tables.has_manifest(listing):
        return tables.read
    if metadata.recognize(listing):
        return metadata.read
    if samples.recognize(listing):
        return samples.read
    if tables.recognize(listing) and (not _has_media(listing) or tables.names_files(listing)):
        return tables.read
    return classes.read if classes.recognize(listing) else None


def _has_media(listing: Listing) -> bool:
    """Return whether a folder holds files of a known kind beside its tables."""
    names = set(tables.list_tables(listing))
    return any(classes.find_kind(name) for name in listing.files if name not in names)


def _choose_media_layout(listing: Listing) -> Read | None:
    """Return what reads an archive where it is; None if it holds tables, say, and has to be unpacked."""
    if samples.recognize(listing):
        return samples.read
    is_media = classes.recognize(listing) and not tables.recognize(listing) and not metadata.recognize(listing)
    return classes.read if is_media else None


def _describe_unknown(path: Path, listing: Listing) -> str:
    """Describe what a folder holds, and which layouts are known."""
    suffixes = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in listing.files)
    counts = [f"{count} {suffix}" for suffix, count in suffixes.most_common(5)]
    content = ", ".join(counts) or "nothing"
    return f"dataset.path: {path} is no data set that is known. It holds {content}; looked for: {'; '.join(LAYOUTS)}"
