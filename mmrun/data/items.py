"""Several pictures or sounds in one cell: how they are written, and how they are passed on."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from mmrun.data import limits

SEPARATOR = re.compile(r"[|;,\[]")
Pooling = Literal["pooled", "tokens"]


class ItemList(tuple[Any, ...]):
    """The raw values of several items of one row: paths, arrays, or samples with their rate."""


class FrameList(tuple[Any, ...]):
    """The frames of one video, in order: paths or arrays. It is one raw value, unlike the items of a row."""


class Excerpt(NamedTuple):
    """A part of a long recording or video.

    Attributes:
        path: of the file.
        start: seconds after its beginning; below 0: what precedes it is silence, or the first frame.
        stop: seconds, beyond `start`; what follows the end likewise.
    """

    path: Path
    start: float
    stop: float


class ItemOptions(NamedTuple):
    """How several items of a row are read.

    Attributes:
        pooling: pooled: the mean of their vectors represents the row; tokens: a fusion reads those of all items.
        max_items: number that is read of a row; None: chosen from the training rows.
    """

    pooling: Pooling = "pooled"
    max_items: int | None = None


def may_be_several(cell: str) -> bool:
    """Return whether a cell has a character between names of files.

    Args:
        cell: of a column of files.
    """
    return SEPARATOR.search(cell) is not None


def split_items(cell: object) -> list[object]:
    """Return the items that a cell names: a list, `["a.png", "b.png"]` as text, or names between `|`, `;` or commas.

    Args:
        cell: a string is split only where each part is the name of a file with a suffix.

    Returns:
        One or more items; the cell itself where it is not several.
    """
    if isinstance(cell, list):
        return [item for item in cell if item is not None] or [cell]
    if not isinstance(cell, str):
        return [cell]
    if cell.startswith("[") and cell.endswith("]"):
        try:
            parsed = limits.parse_json(cell)
        except ValueError:
            return [cell]
        return parsed if isinstance(parsed, list) and parsed else [cell]
    for separator in ("|", ";", ","):
        parts = [part.strip() for part in cell.strip(f"{separator} ").split(separator)]
        if len(parts) > 1 and all(PurePosixPath(part).suffix for part in parts):
            return list(parts)
    return [re.sub(r"\s*[|;]\s*$", "", cell)]


def list_items(value: object) -> Sequence[Any]:
    """Return the items of a raw value that may be a single one.

    Args:
        value: an ItemList, or anything else.
    """
    return value if isinstance(value, ItemList) else (value,)


def list_paths(value: object) -> list[Path]:
    """Return the files that a raw value is read from.

    Args:
        value: of any modality.
    """
    values = value if isinstance(value, FrameList | Excerpt) else list_items(value)
    return [item for item in values if isinstance(item, Path)]
