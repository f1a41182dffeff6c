"""Opens the data set that a verb of `mmrun data` is given."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from mmrun.data.packed import PackedValues
    from mmrun.data.sheets.sheet import Sheet
    from mmrun.data.table import Table

Node = Mapping[str, Any]  # of dataset=manifest


def open_table(node: Node) -> "Table":
    """Open the data set without its bad rows, which the table lists.

    Args:
        node: of dataset=manifest.

    Raises:
        ConfigError: an override does not fit the file.
        DataError: the file cannot be read.
    """
    from mmrun.config import LABELS
    from mmrun.data.file_digests import NoDigests
    from mmrun.instantiate import instantiate

    table: Table = instantiate({**node, "on_error": "skip"}, "dataset", {"digests": NoDigests()}, drop=LABELS)
    return table


def read_rows(node: Node, table: "Table") -> "tuple[Sheet, np.ndarray]":
    """Read the file again, with all its columns as they are written.

    Args:
        node: of dataset=manifest.
        table: that was opened from it.

    Returns:
        The file, and for each row of the table [n] the number of its row in the file.
    """
    import numpy as np

    from mmrun.data.sheets.sheet import Locations

    sheet = _read_sheet(node)
    locations = next(iter(table.columns.values())).locations
    assert isinstance(locations, Locations)
    return sheet, np.searchsorted(sheet.lines, locations.lines)


def read_group_cells(node: Node, table: "Table") -> "dict[str, PackedValues[object]]":
    """Return the cells of the columns whose names are those of groups, for each row of the table.

    Args:
        node: of dataset=manifest.
        table: that was opened from it.
    """
    from mmrun.data.checks.survey import GROUP_NAMES, has_word

    names = [name for name in _read_sheet(node, limit=1).columns if has_word(name, GROUP_NAMES)]
    if not names or table.groups is not None:
        return {}
    sheet, rows = read_rows(node, table)
    return {name: sheet.columns[name].take(rows) for name in names}


def _read_sheet(node: Node, limit: int | None = None) -> "Sheet":
    from mmrun.data.folders.recognize import open_path

    return open_path(node["path"], limit=limit, encoding=node["encoding"]).sheet
