"""What a user's columns are, where he does not say: modalities and their kinds, tasks. Looks at the first rows only."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from mmrun.data.preprocess.tabular import as_number
from mmrun.data.table_file import SAMPLE, Sheet
from mmrun.errors import ConfigError, DataError

KINDS = ("image", "text", "audio", "tabular", "series")  # as types.KINDS, which would bring torch along
TASKS = ("classification", "ordinal", "multilabel", "regression")  # "ordinal" is said, never inferred
MOST_CATEGORIES = 20  # a column of more different words is free text
MOST_CLASSES = 50  # a target of more different whole numbers is a number
SUFFIXES = {
    "image": {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"},
    "audio": {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif"},
    "series": {".npy"},
}


class Modality(NamedTuple):
    """Where a modality stands in the user's file."""

    kind: str
    columns: list[str]
    reason: str  # how the kind was found: "said", "its name", "file names", "numbers" ...


def modalities(
    sheet: Sheet, columns: Mapping[str, str | Sequence[str]], kinds: Mapping[str, str], reserved: set[str | None]
) -> dict[str, Modality]:
    """Find the modalities: those of `columns`, or every column that is not reserved."""
    found = {}
    if columns:
        for modality, said in columns.items():
            names = [said] if isinstance(said, str) else list(said)
            for name in names:
                require(sheet, name, f"dataset.columns.{modality}")
            found[modality] = _modality(modality, names, sheet, kinds.get(modality))
    else:
        for name in sheet.columns:
            if name not in reserved:
                one = _modality(name, [name], sheet, kinds.get(name))
                modality = "tabular" if one.kind == "tabular" and name not in kinds else name
                if modality in found:  # numbers and categories go together
                    reasons = dict.fromkeys([*found[modality].reason.split(" and "), one.reason])
                    one = Modality("tabular", [*found[modality].columns, name], " and ".join(reasons))
                found[modality] = one
    if not found:
        raise DataError(f"{sheet.name}: no column is left for a modality; it has {', '.join(sheet.columns)}")
    for modality, kind in kinds.items():
        if modality not in found:
            raise ConfigError(f"dataset.kinds.{modality}: there is no such modality (there are {', '.join(found)})")
        if kind not in KINDS:
            raise ConfigError(f"dataset.kinds.{modality}: '{kind}' is no kind; choose one of {', '.join(KINDS)}")
        if kind != "tabular" and len(found[modality].columns) > 1:
            raise ConfigError(f"dataset.columns.{modality}: several columns are tabular, not {kind}; name one")
    return found


def require(sheet: Sheet, name: str, key_path: str) -> None:
    """Refuse a column that the file does not have."""
    if name not in sheet.columns:
        close = get_close_matches(name, sheet.columns, n=1)
        meant = f"; did you mean '{close[0]}'?" if close else ""
        raise ConfigError(f"{key_path}: {sheet.name} has no column '{name}'{meant} (it has {', '.join(sheet.columns)})")


def _modality(modality: str, names: list[str], sheet: Sheet, said: str | None) -> Modality:
    if said is not None:
        return Modality(said, names, "said")
    if len(names) > 1:
        return Modality("tabular", names, "several columns")
    if modality in KINDS:
        return Modality(modality, names, "its name")
    known = [cell for cell in islice(sheet.columns[names[0]], SAMPLE) if cell is not None]
    if not known:
        raise DataError(
            f"{sheet.name}: column '{names[0]}' is empty in the first {SAMPLE} rows; "
            f"say what it is with dataset.kinds.{modality}=KIND, or leave it out of dataset.columns"
        )
    kind, reason = _kind(known)
    return Modality(kind, names, reason)


def _kind(cells: list[Any]) -> tuple[str, str]:
    """Infer the kind of a column from its cells, with the reason."""
    for kind, suffixes in SUFFIXES.items():
        if all(isinstance(cell, str) and PurePosixPath(cell).suffix.lower() in suffixes for cell in cells):
            return kind, "file names"
    if all(isinstance(cell, list) or (isinstance(cell, str) and cell[0] == "[" and cell[-1] == "]") for cell in cells):
        return "series", "lists of numbers"
    if all(as_number(cell) is not None for cell in cells):
        return "tabular", "numbers"
    if len(set(map(str, cells))) <= min(MOST_CATEGORIES, len(cells) // 2):
        return "tabular", "categories"
    return "text", "words"


def task(cells: Sequence[Any]) -> str:
    """Infer the task from the known cells of a target."""
    if all(isinstance(cell, list) for cell in cells):
        numbers = [item for cell in cells for item in cell]
        return "regression" if any(isinstance(item, float) for item in numbers) else "multilabel"
    numbers = [as_number(cell) for cell in cells]
    if any(isinstance(cell, bool) or number is None for cell, number in zip(cells, numbers, strict=True)):
        return "classification"
    words = {str(cell).strip() for cell in cells}
    whole = all(word.lstrip("+-").isdigit() for word in words)
    return "classification" if whole and len(words) <= min(MOST_CLASSES, max(2, len(cells) // 2)) else "regression"
