"""Writes a file anew with one more column; all cells stay as they are written, to the byte in text files."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.data.sheets.csv_rows import read_header
from mmrun.data.sheets.encoding import choose_encoding
from mmrun.data.sheets.sheet import Sheet
from mmrun.data.sheets.table_files import JSON_SUFFIXES
from mmrun.errors import DataError

if TYPE_CHECKING:
    import pyarrow

COMPRESSIONS = {"UNCOMPRESSED": "NONE"}  # as Arrow reads and writes their names
WRITABLE = (".csv", ".tsv", ".txt", *JSON_SUFFIXES, ".parquet")

Cell = str | int | float | None


def write_with_columns(
    source: Path, output: Path, sheet: Sheet, columns: dict[str, Sequence[Cell]], encoding: str | None = None
) -> None:
    """Write a file with more columns, in the format, order and encoding that it has.

    Args:
        source: the file, of one of the formats in WRITABLE.
        output: to write; its suffix does not matter.
        sheet: what `read_sheet` returned for the source, without problems.
        columns: N cells by name; None is an empty cell.
        encoding: of a text file that is not Unicode.
    """
    if source.suffix.lower() == ".parquet":
        _write_parquet(source, output, columns)
        return
    chosen = choose_encoding(source, encoding)
    is_json = source.suffix.lower() in JSON_SUFFIXES
    with (
        open(source, encoding=chosen, newline="\n" if is_json else "") as text,  # lines end as they do for the reader
        open(output, "w", encoding=_get_output_encoding(source, chosen), newline="") as file,
    ):
        if not is_json:
            file.writelines(_extend_lines(text, source, sheet, columns, chosen))
        elif _is_array(text):
            file.writelines(_extend_array(text.read(), columns))
        else:
            file.writelines(_extend_objects(text, columns))


def find_name_conflict(source: Path, sheet: Sheet, name: str) -> str | None:
    """Return the column that a new one would have the name of, None if there is none.

    Args:
        source: the file.
        sheet: its content.
        name: of the new column.
    """
    nested = f"{name}." if source.suffix.lower() in (*JSON_SUFFIXES, ".parquet") else None
    for column in sheet.columns:
        if column == name or (nested is not None and column.startswith(nested)):
            return column
    return None


def _get_output_encoding(source: Path, encoding: str) -> str:
    """Return the encoding that writes a byte order mark only where the file has one."""
    with open(source, "rb") as file:
        has_mark = file.read(3) == b"\xef\xbb\xbf"
    return "utf-8" if encoding == "utf-8-sig" and not has_mark else encoding


# ---------------------------------------------------------------------------------------------------------------- CSV


def _extend_lines(
    lines: Iterable[str], source: Path, sheet: Sheet, columns: dict[str, Sequence[Cell]], encoding: str
) -> Iterator[str]:
    """Yield the records with their new cells; a record begins at its line, and may take several."""
    delimiter = read_header(source, encoding).delimiter
    new_cells = zip(*columns.values(), strict=True)
    starts = map(int, sheet.lines)  # no list: there may be millions
    next_start = next(starts)
    addition, record = _format_cells(columns, delimiter), ""
    for number, line in enumerate(lines, start=1):
        if number == next_start:
            yield _append(record, addition)
            addition, record = _format_cells(next(new_cells), delimiter), ""
            next_start = next(starts, -1)
        record += line
    yield _append(record, addition)


def _append(record: str, addition: str) -> str:
    """Append cells to a record, before the end of its last line and the empty lines that follow."""
    content = record.rstrip("\r\n")
    return f"{content}{addition}{record[len(content) :]}"


def _format_cells(cells: Iterable[Cell], delimiter: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="").writerow(["", *cells])
    return buffer.getvalue()


# --------------------------------------------------------------------------------------------------------------- JSON


def _is_array(text: io.TextIOBase) -> bool:
    start = next((line for line in iter(text.readline, "") if line.strip()), "")
    text.seek(0)
    return start.lstrip().startswith("[")


def _extend_objects(lines: Iterable[str], columns: dict[str, Sequence[Cell]]) -> Iterator[str]:
    """Yield the lines, each of which is one object, with their new keys."""
    rows = zip(*columns.values(), strict=True)
    for line in lines:
        content = line.rstrip()
        yield _insert(content, columns, next(rows)) + line[len(content) :] if content else line


def _extend_array(text: str, columns: dict[str, Sequence[Cell]]) -> Iterator[str]:
    """Yield the text of an array of objects with their new keys."""
    rows = zip(*columns.values(), strict=True)
    decoder = json.JSONDecoder()
    written = 0
    position = text.index("[") + 1
    for cells in rows:
        start = text.index("{", position)
        _, position = decoder.raw_decode(text, start)
        yield text[written:start] + _insert(text[start:position], columns, cells)
        written = position
    yield text[written:]


def _insert(content: str, names: Iterable[str], cells: Iterable[Cell]) -> str:
    """Insert keys at the end of the text of an object."""
    pairs = [
        f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(cell)}" for name, cell in zip(names, cells, strict=True)
    ]
    body = content[:-1].rstrip()
    separator = "" if body.endswith("{") else ", "
    return f"{body}{separator}{', '.join(pairs)}{content[len(body) :]}"


# ------------------------------------------------------------------------------------------------------------ Parquet


def _write_parquet(source: Path, output: Path, columns: dict[str, Sequence[Cell]]) -> None:
    """Write the row groups with their new columns, in the compression of the first one."""
    import pyarrow
    from pyarrow.parquet import ParquetFile, ParquetWriter

    arrays = {name: _to_array(cells) for name, cells in columns.items()}
    with ParquetFile(source) as file:
        schema = file.schema_arrow
        for name, array in arrays.items():
            schema = schema.append(pyarrow.field(name, array.type))
        schema = schema.with_metadata(_describe_features(schema.metadata, arrays))
        compression = file.metadata.row_group(0).column(0).compression  # there is a row, so there is a group
        start = 0
        try:
            with ParquetWriter(output, schema, compression=COMPRESSIONS.get(compression, compression)) as writer:
                for number in range(file.num_row_groups):
                    table = file.read_row_group(number)
                    for name, array in arrays.items():
                        table = table.append_column(name, array.slice(start, table.num_rows))
                    start += table.num_rows
                    writer.write_table(table.cast(schema))
        except pyarrow.ArrowException as error:
            raise DataError(
                f"{source.name}: cannot be written anew ({type(error).__name__}); save it as JSON Lines"
            ) from None


def _to_array(cells: Sequence[Cell]) -> "pyarrow.Array":
    import pyarrow

    return pyarrow.array(cells)


def _describe_features(
    metadata: dict[bytes, bytes] | None, arrays: "dict[str, pyarrow.Array]"
) -> dict[bytes, bytes] | None:
    """Add the new columns to the features that Hugging Face datasets stores, which have to name all columns."""
    key = b"huggingface"
    if metadata is None or key not in metadata:
        return metadata
    try:
        description = json.loads(metadata[key])
        features = description["info"]["features"]
        for name, array in arrays.items():
            features[name] = {"dtype": str(array.type), "_type": "Value"}
    except (ValueError, KeyError, TypeError):
        return {other: value for other, value in metadata.items() if other != key}
    return {**metadata, key: json.dumps(description).encode()}
