"""Reads point clouds: .npy, .bin of KITTI and nuScenes, PLY and PCD files, or arrays."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmrun.data import limits
from mmrun.data.preprocess import pcd, ply
from mmrun.data.preprocess.point_header import PADDING, PointHeader
from mmrun.data.subfiles import open_file, stat_file
from mmrun.errors import DataError

XYZ = ("x", "y", "z")
HEADERS = {".ply": ply.parse_header, ".pcd": pcd.parse_header}  # by suffix
PACKED_COLOURS = ("rgb", "rgba")  # columns of PCL that hold three colours in the bits of a number
COLOUR_PLACES = {"red": 16, "green": 8, "blue": 0}  # of their lowest bits
BIN_COLUMNS = {  # of float32 values without a header; the longer suffix first
    ".pcd.bin": (*XYZ, "intensity", "ring"),  # nuScenes
    ".bin": (*XYZ, "intensity"),  # KITTI
}


class Cloud(NamedTuple):
    """A point cloud.

    Attributes:
        points: coordinates and features [n, C], float32; n >= 1.
        names: of the columns: x, y, z and those of the features.
        num_dropped: points that were left out because a coordinate or feature is NaN or infinite.
    """

    points: np.ndarray
    names: tuple[str, ...]
    num_dropped: int


def read_cloud(value: Path | np.ndarray | Sequence[object]) -> Cloud:
    """Read one point cloud, without the points that are not finite.

    Args:
        value: a file, or numbers [n, C].

    Raises:
        DataError: it cannot be read, has no coordinates, or no finite point.
    """
    name = value.name if isinstance(value, Path) else "the point cloud"
    try:
        numbers, names = _open_file(value) if isinstance(value, Path) else _check_array(np.asarray(value), name)
    except (OSError, ValueError) as error:
        raise DataError(f"{name} is damaged ({type(error).__name__})") from None
    with np.errstate(over="ignore"):
        points = numbers.astype(np.float32)
    if len(points) and np.isfinite(points).all():
        return Cloud(points, names, 0)
    is_finite = np.isfinite(points).all(axis=1)
    if not is_finite.any():
        raise DataError(f"{name} has no point whose coordinates and features are all finite")
    return Cloud(points[is_finite], names, int(len(points) - is_finite.sum()))


def _open_file(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the numbers in a file [n, C], and the names of their columns."""
    name = path.name.lower()
    parse_header = HEADERS.get(path.suffix.lower())
    if parse_header is not None:
        with open_file(path) as stream:
            header = parse_header(stream.read(limits.MAX_POINT_HEADER), path.name)
        return _select_columns(_read_body(path, header), header)
    for suffix, columns in BIN_COLUMNS.items():
        if name.endswith(suffix):
            return _read_bin(path, columns), columns
    return _check_array(limits.open_array(path), path.name)


def _check_array(array: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Check an array without names; return it with those of its columns."""
    shape = list(array.shape)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not 3 <= shape[1] <= limits.MAX_POINT_COLUMNS:
        is_turned = array.ndim == 2 and 3 <= shape[0] <= limits.MAX_POINT_COLUMNS
        mend = "; transpose it" if is_turned else ""
        raise DataError(f"{name} is {array.dtype} {shape}, but must be numbers [points, 3 or more]: x, y, z ...{mend}")
    if shape[0] == 0:
        raise DataError(f"{name} has no points")
    return array, (*XYZ, *(f"feature_{number}" for number in range(4, 1 + shape[1])))


def _read_bin(path: Path, columns: Sequence[str]) -> np.ndarray:
    """Return the points of a file without a header [n, C]."""
    size, point_size = stat_file(path).size, 4 * len(columns)
    if size % point_size:
        raise DataError(
            f"{path.name} has {size:,} bytes, which is no multiple of {point_size}: a point of a .bin file is "
            f"{len(columns)} numbers of float32 ({', '.join(columns)}); save it as .npy"
        )
    _check_count(size // point_size, len(columns), path.name)
    with open_file(path) as stream:
        return np.frombuffer(stream.read(size), dtype="<f4").reshape(-1, len(columns))


def _check_count(num_points: int, num_columns: int, name: str) -> None:
    if num_points < 1:
        raise DataError(f"{name} has no points")
    if num_points * num_columns > limits.MAX_VALUES:
        raise DataError(
            f"{name} claims {num_points:,} points of {num_columns} numbers; more than {limits.MAX_VALUES / 1e6:.0f} "
            "million numbers are refused, so thin it out"
        )


def _read_body(path: Path, header: PointHeader) -> dict[str, np.ndarray]:
    """Return the columns after a header, each [n], once their length was compared with the size of the file."""
    _check_count(header.num_points, len(header.columns), path.name)
    size = stat_file(path).size - header.start
    with open_file(path) as stream:
        stream.seek(header.start, os.SEEK_SET)
        if header.is_text:
            return _parse_text(stream.read(limits.MAX_POINT_TEXT + 1), header, path.name)
        num_bytes = header.num_points * header.dtype.itemsize
        if num_bytes > size:
            raise DataError(f"{path.name} claims {header.num_points:,} points, but ends before them; get it again")
        records = np.frombuffer(stream.read(num_bytes), dtype=header.dtype)
    return {column: records[column] for column in header.columns}


def _parse_text(content: bytes, header: PointHeader, name: str) -> dict[str, np.ndarray]:
    if len(content) > limits.MAX_POINT_TEXT:
        raise DataError(f"{name} has more than {limits.MAX_POINT_TEXT >> 20} MiB of text; save it as binary")
    lines = content.split(b"\n", header.num_points)[: header.num_points]
    lines = [line for line in lines if not line.isspace() and line]
    if len(lines) < header.num_points:
        raise DataError(f"{name} claims {header.num_points:,} points, but has {len(lines):,}; get it again")
    try:
        numbers = np.loadtxt(lines, dtype=np.float64, comments=None, ndmin=2, encoding="latin-1")
    except ValueError:
        numbers = np.zeros((0, 0))
    if numbers.shape != (header.num_points, len(header.columns)):
        raise DataError(f"{name}: a line of its points is not {len(header.columns)} numbers")
    return dict(zip(header.columns, numbers.T, strict=True))


def _select_columns(columns: Mapping[str, np.ndarray], header: PointHeader) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return coordinates and features [n, C] float64, and their names; packed colours become three features."""
    by_name: dict[str, np.ndarray] = {}
    for name, written in header.columns.items():
        if name in PACKED_COLOURS:
            by_name |= _unpack_colours(columns[name], np.dtype(written))
        elif not name.startswith(PADDING):
            by_name[name.lower()] = columns[name].astype(np.float64)
    missing = [name for name in XYZ if name not in by_name]
    if missing:
        raise DataError(f"{header.name} has no {', '.join(missing)}: its columns are {', '.join(by_name) or 'none'}")
    names = (*XYZ, *(name for name in by_name if name not in XYZ))
    return np.stack([by_name[name] for name in names], axis=1), names


def _unpack_colours(values: np.ndarray, written: np.dtype) -> dict[str, np.ndarray]:
    """Return the colours that PCL packs into the bits of a number: red, green and blue, 0..255."""
    with np.errstate(invalid="ignore", over="ignore"):
        bits = values.astype(np.float32).view(np.uint32) if written.kind == "f" else values.astype(np.uint32)
    return {colour: (bits >> place & 255).astype(np.float64) for colour, place in COLOUR_PLACES.items()}
