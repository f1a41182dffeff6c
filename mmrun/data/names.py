"""Names of classes, labels, groups and categories: equal ones are spelled in one way, near-equal ones are found."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from mmrun.data.packed import PackedValues

SHORT_INTEGER = re.compile(r"[+-]?\d{1,100}")  # Python refuses to parse thousands of digits
WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0+")
MAX_FIXED = 64  # letters of a name that arrays of fixed width hold for each row


def normalize_name(cell: object) -> str:
    """Return a cell as a name: true, 7 for 7.0, 0 for -0.0, text without outer spaces and in Unicode's form NFC.

    Args:
        cell: text, number or bool.
    """
    if isinstance(cell, bool):
        return str(cell).lower()
    text = unicodedata.normalize("NFC", str(cell)).strip()
    whole_number = WHOLE_NUMBER.fullmatch(text)
    if whole_number is None:
        return text
    return "0" if whole_number[1] == "-0" else whole_number[1]


def collect_names(column: PackedValues[str | None]) -> np.ndarray:
    """Return the names of rows as an array.

    Args:
        column: N names, none of them missing.

    Returns:
        [N] str; [N] objects, equal ones shared, where a name is so long that its width would be a waste for each row.
    """
    encoded = column.encode()
    if encoded is None:
        return _to_array(list(column))
    names: np.ndarray = _to_array(encoded.values)[encoded.codes]
    return names


def _to_array(names: Sequence[object]) -> np.ndarray:
    is_long = any(len(str(name)) > MAX_FIXED for name in names)
    return np.array(names, dtype=object if is_long else str)


def find_near_equal(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of names that differ only in case, spaces, invisible characters or the spelling of a number.

    Args:
        names: distinct and normalised.

    Returns:
        Each name that resembles an earlier one, with that one first, in alphabetical order.
    """
    first_names: dict[str, str] = {}
    pairs = []
    for name in sorted(names):
        first = first_names.setdefault(_fold_case(name), name)
        if first != name:
            pairs.append((first, name))
    return pairs


def sort_names(names: Iterable[str]) -> list[str]:
    """Sort names, integers by size.

    Args:
        names: distinct.
    """
    distinct = set(names)
    are_integers = all(SHORT_INTEGER.fullmatch(name) for name in distinct)
    return sorted(distinct, key=lambda name: (int(name) if are_integers else 0, name))


def _fold_case(name: str) -> str:
    """Return what near-equal names have in common."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    text = folded if folded.isascii() and folded.isalnum() else "".join(filter(_is_visible, folded)) or name
    return str(int(text)) if SHORT_INTEGER.fullmatch(text) else text


def _is_visible(letter: str) -> bool:
    return not letter.isspace() and unicodedata.category(letter) not in ("Cf", "Cc")


def shorten(text: str, length: int = 80) -> str:
    """Cut a text that is shown, and mark the cut.

    Args:
        text: any text.
        length: letters to keep.
    """
    return text if len(text) <= length else f"{text[:length]} ..."


def join_names(names: Sequence[str], limit: int) -> str:
    """Return a list for a message: "a, b and 7 more".

    Args:
        names: to list.
        limit: how many are listed.
    """
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
