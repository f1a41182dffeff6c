"""Folders of pictures, sounds, series and texts by class, and by split and class: train/cat/1.png."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from posixpath import dirname, splitext

import numpy as np

from mmrun.data.folders.listing import Listing, describe_unused
from mmrun.data.folders.opened import Opened
from mmrun.data.frames import describe_clips, find_clips
from mmrun.data.sheets.chunks import Row
from mmrun.data.sheets.sheet import Places
from mmrun.data.sheets.table_files import build_sheet
from mmrun.data.split_names import map_split_names, normalize_split
from mmrun.data.suffixes import SUFFIXES
from mmrun.errors import DataError

TEXT_SUFFIXES = {".txt"}
KIND_OF_SUFFIX = dict.fromkeys(TEXT_SUFFIXES, "text")
for kind_of_files, suffixes in SUFFIXES.items():
    KIND_OF_SUFFIX |= dict.fromkeys(suffixes, kind_of_files)

Files = dict[str, str | list[str]]  # of a row: by kind, a name, or those of the frames of a video

DESCRIPTION = "folders of files by class (cat/1.png), or by split and class (train/cat/1.png)"


def recognize(listing: Listing) -> bool:
    """Return whether a folder holds files of a known kind."""
    return any(map(find_kind, listing.files))


def find_kind(name: str) -> str | None:
    """Return the kind of modality that a file is, by its suffix; None if it is of no known kind.

    Args:
        name: of the file.
    """
    return KIND_OF_SUFFIX.get(splitext(name)[1].lower())  # no Path: a million names take seconds


def read(listing: Listing, limit: int | None = None, encoding: str | None = None) -> Opened:
    """Read a folder: a row for each file, or, where there are files of several kinds, for those of one name.

    Returns:
        Columns id, one by kind of file, label where there are folders of classes, and split where there are those.

    Raises:
        DataError: two files of a kind would be in one row.
    """
    samples = _group_files(listing)
    depths = _find_depths(samples)
    num_levels = max(depths.values(), default=-1) + 1
    samples = {name: files for name, files in samples.items() if name.count("/") >= num_levels}
    are_images = all(list(files) == ["image"] for files in samples.values())
    clips = find_clips(samples, num_levels) if are_images else {}
    if clips:
        samples = {name: {"video": frames} for name, frames in clips.items()}
    kinds = sorted(set(chain.from_iterable(samples.values())))
    names = list(samples)
    sheet = build_sheet(
        listing.name,
        _iterate_rows(listing, samples, kinds, depths),
        limit,
        Places(names, np.arange(len(names))),
        frozenset({"id", *depths}),
    )
    used = set(chain.from_iterable(map(_list_names, samples.values())))
    note = f"{listing.name}: read as {_name_layout(depths)}, {len(names):,} rows of {' and '.join(kinds)}"
    contents = tuple(column for column in depths if column in sheet.columns)
    notes = [note, *([f"{listing.name}: {describe_clips(clips)}"] if clips else [])]
    return Opened(sheet, listing.root, contents=contents, notes=[*notes, *describe_unused(listing, used)])


def _name_layout(depths: Mapping[str, int]) -> str:
    parts = ["class" if column == "label" else column for column in depths]
    return f"folders by {' and '.join(parts)}" if parts else "a folder of files"


def _iterate_rows(
    listing: Listing, samples: Mapping[str, Files], kinds: Sequence[str], depths: Mapping[str, int]
) -> Iterator[Row]:
    for number, (sample, files) in enumerate(samples.items()):
        folders = sample.split("/")
        cells: dict[str, object] = {"id": sample, **dict.fromkeys(kinds)}
        cells |= {kind: _get_cell(listing, name) for kind, name in files.items()}
        cells |= {column: folders[depth] for column, depth in depths.items()}
        yield Row(number + 1, cells, "")


def _get_cell(listing: Listing, name: str | list[str]) -> str | list[str]:
    """Return the cell of a file, or of a clip: its folder, or its frames where they lie in an archive."""
    if isinstance(name, str):
        return listing.files[name]
    frames = [listing.files[frame] for frame in name]
    folder = dirname(frames[0])
    return folder if (listing.root / folder).is_dir() else frames


def _find_depths(samples: Iterable[str]) -> dict[str, int]:
    """Return which folder of a path is the split, and which one is the label, where there are such folders."""
    folders = [sample.split("/")[:-1] for sample in samples]
    depth = max(map(len, folders), default=0)
    depths = {}
    for level in range(min(depth, 2)):
        names = {parts[level] for parts in folders if len(parts) > level}
        if "split" not in depths and are_splits(names):
            depths["split"] = level
        elif "label" not in depths:
            depths["label"] = level
    return depths


def are_splits(names: Collection[str]) -> bool:
    """Return whether all of some names are those of splits.

    Args:
        names: of folders or files.
    """
    mapping = map_split_names("split", names)
    return bool(names) and all(normalize_split(name) in mapping for name in names)


def _list_names(files: Files) -> list[str]:
    """Return the names of all files of a row."""
    names: list[str] = []
    for name in files.values():
        names += name if isinstance(name, list) else [name]
    return names


def _group_files(listing: Listing) -> dict[str, Files]:
    """Return the files of each row by kind; a row is named by its file, or by what its files have in common."""
    kinds = {name: kind for name in listing.files if (kind := find_kind(name)) is not None}
    by_stem: dict[str, list[str]] = {}
    for name in kinds:
        by_stem.setdefault(splitext(name)[0], []).append(name)
    paired: set[str] = set()
    for names in by_stem.values():
        kinds_of_row = {kinds[name] for name in names}
        paired |= kinds_of_row if len(kinds_of_row) > 1 else set()
    if not paired:
        [(usual, _)] = Counter(kinds.values()).most_common(1)
        return {name: {kind: name} for name, kind in kinds.items() if kind == usual}
    samples: dict[str, Files] = {}
    for stem, names in by_stem.items():
        for name in (name for name in names if kinds[name] in paired):
            files = samples.setdefault(stem, {})
            if kinds[name] in files:
                raise DataError(
                    f"{listing.name}: {files[kinds[name]]} and {name} would be one row, but both are "
                    f"{kinds[name]}; rename one of them"
                )
            files[kinds[name]] = name
    return samples
