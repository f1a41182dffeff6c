"""The raw values of served rows, by modality, as the preprocessors of a run read them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmrun.data.cells import RowReader
from mmrun.data.packed import PackedValues
from mmrun.data.sheets.sheet import Sheet
from mmrun.deploy.rows import RowSpec, read_as_trained
from mmrun.deploy.serve.cells import ReadRow
from mmrun.deploy.serve.problems import RequestError, from_message
from mmrun.deploy.serve.schema import Modality, Schema
from mmrun.errors import DataError

RawValues = dict[str, list[object]]  # by modality, then by row; None where a row lacks it


def read_values(run: RowSpec, schema: Schema, rows: Sequence[ReadRow]) -> tuple[RawValues, dict[int, RequestError]]:
    """Return the values of each modality, and the errors by number of the row."""
    values: RawValues = {modality.name: [] for modality in schema.modalities}
    errors: dict[int, RequestError] = {}
    for number, row in enumerate(rows):
        for modality in schema.modalities:
            value = None
            try:
                value = _read_value(run, modality, row)
            except DataError as error:
                errors.setdefault(number, explain_value(modality, value, str(error)))
            values[modality.name].append(value)
    return values, errors


def _read_value(run: RowSpec, modality: Modality, row: ReadRow) -> object:
    if modality.kind != "tabular":
        return row.values.get(modality.fields[0].name)
    cells = {column.name: row.values.get(column.name) for column in modality.fields}
    if all(cell is None for cell in cells.values()):
        return None
    if not any(name in run.formats for name in cells):
        return cells
    columns: dict[str, PackedValues[object]] = {name: PackedValues([cell]) for name, cell in cells.items()}
    sheet = read_as_trained(run, Sheet("row", columns, np.arange(1), {}), list(cells))
    return RowReader(sheet, "raise").read_records(list(cells))[0]


def explain_value(modality: Modality, value: object, message: str) -> RequestError:
    """Return the error of a value that cannot be read.

    Args:
        modality: that the value is of.
        value: raw; the name of a file is not shown, since it is not the user's.
        message: which may begin with the place of the row: "row 3: ", or "row:0: ".
    """
    message = message.partition(": ")[2] if message.startswith("row") else message
    if isinstance(value, Path):
        message = message.replace(str(value), "the file").replace(value.name, "the file")
    where = modality.name if modality.kind == "tabular" else modality.fields[0].name  # of a table, the column is named
    return from_message(where, message)
