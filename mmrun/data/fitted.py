"""What preprocessors and tasks take from training rows, as digests: whether weights mean the same in two runs."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

from mmrun.digests import hash_bytes


class FitDigest(TypedDict):
    """Digests of one key of a fitted state.

    Attributes:
        names: of its words, columns and categories, and of how they are numbered.
        numbers: of all, with means, deviations and lengths.
    """

    names: str
    numbers: str


Fit = dict[str, FitDigest]  # by key of a state: tokenizer, categories, mean ...


class Differences(NamedTuple):
    """Keys in which two fitted states differ.

    Attributes:
        names: where words, columns or categories differ, or are numbered differently.
        numbers: where only means, deviations or lengths differ.
    """

    names: list[str]
    numbers: list[str]


def digest_state(state: Mapping[str, object]) -> Fit:
    """Return the digests of a fitted state.

    Args:
        state: JSON values by key, as `Preprocessor.state` returns them.
    """
    return {key: {"names": _hash(_drop_numbers(value)), "numbers": _hash(value)} for key, value in state.items()}


def compare_fits(first: Fit, second: Fit) -> Differences:
    """Return the keys in which two fitted states differ.

    Args:
        first: of one run.
        second: of another one.
    """
    names = sorted(first.keys() ^ second.keys())
    numbers = []
    for key in sorted(first.keys() & second.keys()):
        if first[key]["names"] != second[key]["names"]:
            names.append(key)
        elif first[key]["numbers"] != second[key]["numbers"]:
            numbers.append(key)
    return Differences(names, numbers)


def _drop_numbers(value: object, is_numbering: bool = False) -> object:
    """Leave out what is measured. An integer inside a mapping stays: it numbers a name."""
    if isinstance(value, Mapping):
        return {name: _drop_numbers(item, is_numbering=True) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [_drop_numbers(item) for item in value]
        return [item for item in items if item not in (None, [])]
    is_measured = isinstance(value, float) or (type(value) is int and not is_numbering)
    return None if is_measured else value


def _hash(value: object) -> str:
    return hash_bytes(json.dumps(value, sort_keys=True).encode())
