"""The header of PCD files, the format of the Point Cloud Library (Rusu & Cousins, 2011)."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from mmrun.data import limits
from mmrun.data.preprocess.point_header import PADDING, PointHeader, check_columns, parse_count, split_header
from mmrun.errors import DataError

TYPES = {
    ("F", "4"): "<f4",
    ("F", "8"): "<f8",
    ("I", "1"): "<i1",
    ("I", "2"): "<i2",
    ("I", "4"): "<i4",
    ("I", "8"): "<i8",
    ("U", "1"): "<u1",
    ("U", "2"): "<u2",
    ("U", "4"): "<u4",
    ("U", "8"): "<u8",
}


def parse_header(head: bytes, name: str) -> PointHeader:
    """Parse the header.

    Args:
        head: the first bytes of a file.
        name: of the file.

    Raises:
        DataError: it is not that of a PCD file, or the points are compressed.
    """
    lines, start = split_header(head, "data", name)
    entries = {words[0].upper(): words[1:] for words in lines if words and not words[0].startswith("#")}
    fields, sizes, types = (entries.get(key, []) for key in ("FIELDS", "SIZE", "TYPE"))
    counts = [parse_count(count, "COUNT", name) for count in entries.get("COUNT", ["1"] * len(fields))]
    if not fields or not len(fields) == len(sizes) == len(types) == len(counts):
        raise DataError(f"{name}: FIELDS, SIZE, TYPE and COUNT of its header do not fit each other")
    written = " ".join(entries["DATA"])[:40]
    if written not in ("ascii", "binary"):
        mend = "save it as binary (pcl_convert_pcd_ascii_binary IN OUT 1)"
        raise DataError(f"{name} is a PCD file of the format '{written}', which is not read; {mend}")
    names = _list_columns(fields, counts, name)
    types_of_fields = [_parse_type(letter, size, name) for letter, size in zip(types, sizes, strict=True)]
    columns = dict(zip(names, np.repeat(types_of_fields, counts).tolist(), strict=True))
    return PointHeader(name, columns, _count_points(entries, name), start, written == "ascii")


def _list_columns(fields: Sequence[str], counts: Sequence[int], name: str) -> list[str]:
    """Return a name for each number of a point; a field of several numbers becomes NAME_0, NAME_1 ..."""
    if sum(counts) > limits.MAX_POINT_COLUMNS:
        raise DataError(f"{name} has {sum(counts):,} numbers a point; at most {limits.MAX_POINT_COLUMNS} are read")
    names: list[str] = []
    for place, (field, count) in enumerate(zip(fields, counts, strict=True)):
        stem = f"{PADDING}{place}" if field == PADDING else field
        names += [stem] if count == 1 else [f"{stem}_{number}" for number in range(count)]
    check_columns(names, name)
    return names


def _parse_type(letter: str, size: str, name: str) -> str:
    if (letter, size) not in TYPES:
        raise DataError(f"{name}: a column of TYPE {letter[:20]} and SIZE {size[:20]} does not exist")
    return TYPES[letter, size]


def _count_points(entries: Mapping[str, Sequence[str]], name: str) -> int:
    """Return POINTS, or WIDTH times HEIGHT where it is not there."""
    if "POINTS" in entries:
        return parse_count(" ".join(entries["POINTS"]), "POINTS", name)
    return prod(parse_count(" ".join(entries.get(key, [])), key, name) for key in ("WIDTH", "HEIGHT"))
