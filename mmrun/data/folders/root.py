"""Decides which folder the file names in the cells of a table start from."""

import os
from collections.abc import Iterable
from pathlib import Path

from mmrun.data.folders.classes import find_kind
from mmrun.data.folders.opened import Opened
from mmrun.data.sheets.sheet import Sheet

MAX_NAMES = 100  # of files that are looked for


def choose_root(opened: Opened, columns: Iterable[str], root: Path | str | None) -> tuple[Path, list[str]]:
    """Choose between the folder of the table and the working folder, unless another one is set.

    Args:
        opened: the table.
        columns: names of those that may hold names of files.
        root: that is set; None: none is.

    Returns:
        The working folder if the first files lie there, and none of them in the folder of the table; and a note on it.
    """
    if root:
        return Path(root).expanduser(), []
    names = _list_file_names(opened.sheet, columns)
    if not names or any(os.path.exists(opened.root / name) for name in names):
        return opened.root, []
    if not all(os.path.exists(name) for name in names):
        return opened.root, []
    note = (
        f"file names start from the working folder: '{names[0]}' is not in {opened.root}; dataset.root=FOLDER sets it"
    )
    return Path.cwd(), [note]


def _list_file_names(sheet: Sheet, columns: Iterable[str]) -> list[str]:
    """Return some names of files that cells hold, but no absolute ones."""
    names = []
    for column in columns:
        cells = sheet.columns[column].head(MAX_NAMES) if column in sheet.columns else ()
        names += [cell for cell in cells if isinstance(cell, str) and find_kind(cell) and not os.path.isabs(cell)]
    return names
