"""The header of PLY files (Turk, 1994)."""

from mmrun.data.preprocess.point_header import PointHeader, check_columns, parse_count, split_header
from mmrun.errors import DataError

TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float": "f4",
    "double": "f8",
    "float32": "f4",
    "float64": "f8",
}
BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}  # by format


def parse_header(head: bytes, name: str) -> PointHeader:
    """Parse the header; its first element has to be the points, `vertex`.

    Args:
        head: the first bytes of a file.
        name: of the file.

    Raises:
        DataError: it is not that of a PLY file, or its points have lists.
    """
    if head[:3] != b"ply":
        raise DataError(f"{name} does not start with 'ply', so it is no PLY file")
    lines, start = split_header(head, "end_header", name)
    file_format, elements = "", list[str]()
    num_points = 0
    columns: dict[str, str] = {}
    names: list[str] = []
    for words in lines:
        match words:
            case ["format", written, *_]:
                file_format = written
            case ["element", element, count, *_]:
                elements.append(element)
                num_points = parse_count(count, "its number of points", name) if element == "vertex" else num_points
            case ["property", "list", *_] if elements[-1:] == ["vertex"]:
                raise DataError(f"{name} has lists in its points; remove them")
            case ["property", written, column] if elements[-1:] == ["vertex"]:
                if written not in TYPES:
                    raise DataError(f"{name}: '{written[:40]}' is no type of PLY")
                names.append(column)
                columns[column] = BYTE_ORDERS.get(file_format, "") + TYPES[written]
    if file_format not in BYTE_ORDERS:
        raise DataError(f"{name}: '{file_format[:40]}' is no format of PLY; save it as binary_little_endian")
    if elements[:1] != ["vertex"]:
        raise DataError(f"{name}: its first element is {', '.join(elements[:1]) or 'missing'}, not vertex")
    check_columns(names, name)
    return PointHeader(name, columns, num_points, start, file_format == "ascii")
