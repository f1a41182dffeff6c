"""The data set that a verb of `mmrun data` is given: a file and overrides of `dataset`."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmrun.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from mmrun.data.packed import PackedValues
    from mmrun.data.sheets.sheet import Sheet
    from mmrun.data.table import Table

Node = Mapping[str, Any]  # of dataset=manifest


def add_data_set(parser: argparse.ArgumentParser) -> None:
    """Declare FILE and the overrides. Flags may stand between them.

    Args:
        parser: of a verb.
    """
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
    parser.add_argument("file", metavar="FILE", help="a CSV, JSON Lines, Parquet or Excel file, or a folder with one")
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],  # without it, argparse calls it required
        metavar="OVERRIDE",
        help="of `dataset`: target=diagnosis group=patient columns.image=photo",
    )


def compose_node(file: str, overrides: Sequence[str]) -> Node:
    """Return the node of dataset=manifest with the user's overrides.

    Args:
        file: as typed.
        overrides: as typed, with or without "dataset.".

    Raises:
        ConfigError: one is not of the form KEY=VALUE.
    """
    from mmrun.compose import load_option
    from mmrun.quoting import quote_values

    for override in overrides:
        if "=" not in override:
            raise ConfigError(f"'{override}' is not of the form KEY=VALUE; write for example target=diagnosis")
    words = quote_values([f"dataset.{override.removeprefix('dataset.')}" for override in overrides])
    return {**load_option("dataset", "manifest", [f"++{word}" for word in words]), "path": file}


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

    from mmrun.data.sheets.sheet import Locations, read_sheet
    from mmrun.data.sources.manifest import locate_file

    sheet = read_sheet(locate_file(node["path"]), encoding=node["encoding"])
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
    from mmrun.data.sheets.sheet import read_sheet
    from mmrun.data.sources.manifest import locate_file

    header = read_sheet(locate_file(node["path"]), limit=1, encoding=node["encoding"]).columns
    names = [name for name in header if has_word(name, GROUP_NAMES)]
    if not names or table.groups is not None:
        return {}
    sheet, rows = read_rows(node, table)
    return {name: sheet.columns[name].take(rows) for name in names}
