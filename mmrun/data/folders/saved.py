"""Folders that `save_to_disk` of Hugging Face's datasets wrote: a data set, or one by split."""

from collections.abc import Mapping
from pathlib import Path

from mmrun.data.folders.listing import Listing
from mmrun.data.folders.opened import Opened
from mmrun.data.folders.tables import add_split
from mmrun.data.limits import parse_json, read_text
from mmrun.data.sheets.table_files import read_sheets
from mmrun.errors import DataError

SPLITS, STATE = "dataset_dict.json", "state.json"


def recognize(listing: Listing) -> bool:
    """Return whether a folder holds what `save_to_disk` writes."""
    return SPLITS in listing.files or STATE in listing.files


def read(listing: Listing, limit: int | None = None, encoding: str | None = None) -> Opened:
    """Read the Arrow files of the splits.

    Raises:
        DataError: a file is damaged or missing, or the rows are not all of those in the files.
    """
    splits = _read_strings(listing, SPLITS, "splits") if SPLITS in listing.files else [""]
    files: dict[str, Path] = {}
    names: list[str] = []
    for split in splits:
        folder = f"{split}/" if split else ""
        for file in _list_data_files(listing, folder):
            files[file] = listing.root / listing.files[file]
            names.append(split)
    sheet = add_split(read_sheets(listing.name, files, limit), names)
    shown = f", splits {', '.join(splits)}" if splits[0] else ""
    return Opened(sheet, listing.root, files, notes=[f"{listing.name}: read as saved by Hugging Face datasets{shown}"])


def _list_data_files(listing: Listing, folder: str) -> list[str]:
    state = _read_json(listing, f"{folder}{STATE}")
    if state.get("_indices_data_files"):
        raise DataError(f"{listing.name}: {folder}{STATE} selects rows; call flatten_indices() and save again")
    entries = state.get("_data_files")
    files = []
    for entry in entries if isinstance(entries, list) else []:
        name = entry.get("filename") if isinstance(entry, dict) else None
        if f"{folder}{name}" not in listing.files or not str(name).endswith(".arrow"):
            raise DataError(f"{listing.name}: {folder}{str(name)[:80]} is missing; save the data set again")
        files.append(f"{folder}{name}")
    if not files:
        raise DataError(f"{listing.name}: {folder}{STATE} names no file; save the data set again")
    return files


def _read_strings(listing: Listing, file: str, key: str) -> list[str]:
    values = _read_json(listing, file).get(key)
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise DataError(f"{listing.name}: {file} names no {key}; save the data set again")
    return values


def _read_json(listing: Listing, file: str) -> Mapping[str, object]:
    try:
        value = parse_json(read_text(listing.root / listing.files[file]))
    except (KeyError, OSError):
        raise DataError(f"{listing.name}: {file} is missing; save the data set again") from None
    except ValueError as error:
        raise DataError(f"{listing.name}: {file} is not JSON ({error}); save the data set again") from None
    return value if isinstance(value, dict) else {}
