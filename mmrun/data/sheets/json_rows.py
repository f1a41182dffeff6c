"""Reads JSON files: an object per line, or an array of objects; an object inside an object becomes dotted columns."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from mmrun.data.limits import parse_json
from mmrun.data.sheets.chunks import Row
from mmrun.data.sheets.text_lines import find_encoding_problem, read_lines
from mmrun.errors import DataError

MAX_ARRAY_BYTES = 1 << 30  # of a file that is one array, which is parsed as a whole


def read_json(path: Path, encoding: str) -> Iterator[Row]:
    """Yield the rows of a file.

    Args:
        path: the file.
        encoding: of its text.

    Raises:
        DataError: the file is one value, but not an array of objects.
    """
    with open(path, encoding=encoding, errors="surrogateescape", newline="\n") as file:
        is_array = next((line for line in read_lines(file, path.name) if line.strip()), "").lstrip().startswith("[")
    return _read_array(path, encoding) if is_array else _read_lines_of_objects(path, encoding)


def _read_lines_of_objects(path: Path, encoding: str) -> Iterator[Row]:
    with open(path, encoding=encoding, errors="surrogateescape", newline="\n") as file:
        for line, content in enumerate(read_lines(file, path.name), start=1):
            if content.strip():
                yield _read_line(line, content, path)


def _read_line(line: int, content: str, path: Path) -> Row:
    problem = "" if content.isascii() else find_encoding_problem(content.strip(), path)
    if problem:
        return Row(line, {}, problem)
    try:
        cells = parse_json(content)
    except ValueError as error:
        mend = "write one object per line, or one array of objects" if line == 1 else "write one object per line"
        return Row(line, {}, f"is not JSON ({error}); {mend}")
    return _to_row(line, cells, "write one object per line")


def _read_array(path: Path, encoding: str) -> Iterator[Row]:
    """Yield the objects of an array; the number of an object takes the place of the line."""
    if path.stat().st_size > MAX_ARRAY_BYTES:
        raise DataError(f"{path.name}: is an array of more than {MAX_ARRAY_BYTES >> 30} GiB; write one object per line")
    text = path.read_text(encoding, errors="surrogateescape")
    problem = "" if text.isascii() else find_encoding_problem(text, path)
    if problem:
        raise DataError(f"{path.name}: {problem}")
    try:
        items = parse_json(text)
    except ValueError as error:
        raise DataError(f"{path.name}: is not JSON ({error}); write an array of objects") from None
    for number, cells in enumerate(items if isinstance(items, list) else [items], start=1):
        yield _to_row(number, cells, "write an array of objects")


def _to_row(line: int, cells: object, mend: str) -> Row:
    if not isinstance(cells, dict):
        return Row(line, {}, f"is not a JSON object; {mend}")
    try:
        return Row(line, flatten(cells), "")
    except DataError as error:
        return Row(line, {}, str(error))


def flatten(cells: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return the cells of an object, those of objects inside it under dotted names: patient.age.

    Args:
        cells: of one row.
        prefix: of the names.

    Raises:
        DataError: two keys have one name, as in {"a": {"b": 1}, "a.b": 2}.
    """
    flat: dict[str, object] = {}
    for name, cell in cells.items():
        if isinstance(cell, dict):
            inner = flatten(cell, f"{prefix}{name}.") or {f"{prefix}{name}": None}
        else:
            inner = {f"{prefix}{name}": cell}
        repeated = flat.keys() & inner.keys()
        if repeated:
            raise DataError(f"has two keys '{min(repeated)}', one of them inside an object; rename one")
        flat |= inner
    return flat
