"""Lists the files of a folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmrun.data.limits import MAX_FOLDER_DEPTH, MAX_LISTED
from mmrun.errors import DataError

JUNK = {"__MACOSX", "Thumbs.db", "desktop.ini"}  # what operating systems leave in folders and archives


@dataclass(frozen=True)
class Listing:
    """The files of a folder or of an archive.

    Attributes:
        name: of the folder.
        root: the folder that cells start from.
        files: the cell of each file, a path that starts from the root, by its name in the folder; in order.
        folders: those that hold nothing at all.
        hidden: files and folders whose names start with a point, and what operating systems leave behind.
        links: to folders, which are not followed.
    """

    name: str
    root: Path
    files: Mapping[str, str]
    folders: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def enter(self, folder: str) -> "Listing":
        """Return the files of one of its folders, by their names there.

        Args:
            folder: its name.
        """
        start = f"{folder}/"
        files = {name.removeprefix(start): cell for name, cell in self.files.items() if name.startswith(start)}
        folders = [name.removeprefix(start) for name in self.folders if name.startswith(start)]
        return replace(self, name=folder, files=files, folders=folders)

    def top_folders(self) -> list[str]:
        """Return the folders at the top that hold a file, in order."""
        return list(dict.fromkeys(name.partition("/")[0] for name in self.files if "/" in name))


def list_folder(path: Path) -> Listing:
    """List a folder and all folders inside; links to folders are not followed.

    Args:
        path: of the folder.

    Raises:
        DataError: it cannot be read, has too many files, or folders lie too deep inside each other.
    """
    files: list[str] = []
    listing = Listing(path.resolve().name, path, {})
    waiting = [("", 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            names = sorted(os.scandir(path / folder), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"{path / folder}: cannot be read ({error.strerror})") from None
        if depth > MAX_FOLDER_DEPTH or len(files) > MAX_LISTED:
            raise DataError(f"{path}: has more than {MAX_LISTED:,} files, or folders too deep inside each other")
        if folder and not names:
            listing.folders.append(folder)
        for entry in names:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if is_hidden(entry.name):
                listing.hidden.append(name)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((name, depth + 1))
            elif entry.is_dir():
                listing.links.append(name)
            else:
                files.append(name)
    return replace(listing, files={name: name for name in sorted(files)}, folders=sorted(listing.folders))


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is none that a user put there.

    Args:
        name: its last part.
    """
    return name.startswith(".") or name in JUNK


def describe_unused(listing: Listing, used: set[str]) -> list[str]:
    """Return a line on what a folder holds that is not read; none if all is.

    Args:
        listing: of the folder.
        used: names of the files that are read.
    """
    kinds = {
        "file": [name for name in listing.files if name not in used],
        "empty folder": listing.folders,
        "hidden file": listing.hidden,
        "link to a folder": listing.links,
    }
    parts = [_count(noun, names) for noun, names in kinds.items() if names]
    return [f"{listing.name}: not read: {', '.join(parts)}"] if parts else []


def _count(noun: str, names: list[str]) -> str:
    plural = noun.replace("link", "links", 1) if noun.startswith("link") else f"{noun}s"
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names):,} {noun if len(names) == 1 else plural} ({', '.join(names[:3])}{more})"
