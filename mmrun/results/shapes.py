"""Checks that what was read from a JSON file has the layout that its type describes."""

from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, TypeGuard, Union, get_args, get_origin, get_type_hints, is_typeddict

MAX_NUMBER = 1e150  # the squares of larger numbers are not finite
PLAIN = {str: "a string", int: "a number", float: "a number", bool: "true or false", NoneType: "null"}


def find_mismatch(value: object, layout: Any, key_path: str = "") -> str | None:
    """Return where a value does not have a layout.

    Args:
        value: as `json.loads` returns it.
        layout: a TypedDict, or a type made of dict, list, Literal, unions, str, int, float, bool, None and Any. Keys
            that a TypedDict does not name are accepted.
        key_path: of the value, for the answer.

    Returns:
        The first place: "metrics.test.accuracy: expected a number or null, not 'high'"; None where everything fits.
    """
    origin = get_origin(layout)
    if layout is Any or layout is object:
        return None
    if is_typeddict(layout):
        return _find_in_record(value, layout, key_path)
    if origin is dict:
        return _find_in_mapping(value, get_args(layout)[1], key_path)
    if origin is list:
        return _find_in_list(value, get_args(layout)[0], key_path)
    if origin is Literal:
        choices = get_args(layout)
        return None if value in choices else _explain(value, key_path, f"one of {', '.join(map(str, choices))}")
    if origin in (Union, UnionType):
        return _find_in_union(value, get_args(layout), key_path)
    return None if _is_plain(value, layout) else _explain(value, key_path, PLAIN[layout])


def _find_in_record(value: object, layout: Any, key_path: str) -> str | None:
    """Check the keys of a TypedDict."""
    if not isinstance(value, Mapping):
        return _explain(value, key_path, "a mapping")
    for key, (item_layout, is_required) in _read_fields(layout).items():
        if key in value:
            problem = find_mismatch(value[key], item_layout, _join(key_path, key))
        else:
            problem = f"{_join(key_path, key)}: is missing" if is_required else None
        if problem is not None:
            return problem
    return None


@cache
def _read_fields(layout: Any) -> dict[str, tuple[Any, bool]]:
    """Return the layout of each key of a TypedDict, and whether it is required."""
    fields = {}
    for key, hint in get_type_hints(layout, include_extras=True).items():
        is_optional = get_origin(hint) is NotRequired
        item_layout = get_args(hint)[0] if is_optional else hint
        fields[key] = item_layout, key in layout.__required_keys__ and not is_optional
    return fields


def _find_in_mapping(value: object, layout: Any, key_path: str) -> str | None:
    """Check the values of a mapping."""
    if not isinstance(value, Mapping):
        return _explain(value, key_path, "a mapping")
    for key, item in value.items():
        problem = find_mismatch(item, layout, _join(key_path, key))
        if problem is not None:
            return problem
    return None


def _find_in_list(value: object, layout: Any, key_path: str) -> str | None:
    """Check the items of a list."""
    if not isinstance(value, list):
        return _explain(value, key_path, "a list")
    for number, item in enumerate(value):
        problem = find_mismatch(item, layout, f"{key_path}[{number}]")
        if problem is not None:
            return problem
    return None


def _find_in_union(value: object, layouts: tuple[Any, ...], key_path: str) -> str | None:
    """Check that one of several layouts fits; null is the usual second one."""
    problems = [find_mismatch(value, layout, key_path) for layout in layouts]
    if None in problems:
        return None
    if all(layout in PLAIN for layout in layouts):
        return _explain(value, key_path, " or ".join(PLAIN[layout] for layout in layouts))
    return problems[0]


def _is_plain(value: object, layout: type) -> bool:
    """Return whether a value is a string, boolean, null, or a number."""
    if layout in (int, float):
        return is_number(value)
    return isinstance(value, layout)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number of a size that can be computed with.

    Args:
        value: as `json.loads` returns it.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER


def _explain(value: object, key_path: str, expected: str) -> str:
    text = repr(value)
    return f"{key_path or 'the file'}: expected {expected}, not {text[:40]}{'...' if len(text) > 40 else ''}"


def _join(key_path: str, key: object) -> str:
    return f"{key_path}.{key}" if key_path else str(key)
