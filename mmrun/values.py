"""Types and ranges of config values. A signature declares them, and every value from a config is converted to them.

    def __init__(self, dims: dict[str, int], dim: Width = 128, dropout: ShareBelow1 = 0.0, cell: Literal["gru", "lstm"])

A class of your own gets the same errors: annotate its arguments with these aliases, or with a `Range` of your own:
`Annotated[float, Range(at_least=-1, at_most=1)]`. Numbers are always finite.
"""

import functools
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mmrun.errors import ConfigError, nearest


@dataclass(frozen=True)
class Range:
    """The numbers that make sense for an argument.

    Attributes:
        above, at_least: lower bound, without or with the bound itself.
        below, at_most: upper bound, likewise.
    """

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def contains(self, number: float) -> bool:
        """Return whether a number lies within the bounds."""
        return (
            (self.above is None or number > self.above)
            and (self.at_least is None or number >= self.at_least)
            and (self.below is None or number < self.below)
            and (self.at_most is None or number <= self.at_most)
        )

    def __str__(self) -> str:
        """Describe the bounds, as in "a number from 0 to 1"."""
        if self.at_least is not None and self.at_most is not None:
            return f"from {_format_bound(self.at_least)} to {_format_bound(self.at_most)}"
        if self.at_least is not None and self.below is not None:
            return f"from {_format_bound(self.at_least)} to below {_format_bound(self.below)}"
        bounds = {"above": self.above, "of at least": self.at_least, "below": self.below, "up to": self.at_most}
        return " and ".join(f"{name} {_format_bound(bound)}" for name, bound in bounds.items() if bound is not None)


def _format_bound(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"


@dataclass(frozen=True)
class NotEmpty:
    """A list with at least one item."""

    def contains(self, items: Sequence[object]) -> bool:
        """Return whether there is an item."""
        return len(items) > 0

    def __str__(self) -> str:
        """Describe the condition, as in "a list with at least one item"."""
        return "with at least one item"


PositiveInt = Annotated[int, Range(above=0)]
NonNegativeInt = Annotated[int, Range(at_least=0)]
Width = Annotated[int, Range(at_least=1, at_most=65536)]  # D: more than any model has, less than memory holds
Widths = Annotated[Sequence[Width], NotEmpty()]  # of layers or blocks, in order
Depth = Annotated[int, Range(at_least=1, at_most=1000)]  # number of layers
PositiveFloat = Annotated[float, Range(above=0)]
NonNegativeFloat = Annotated[float, Range(at_least=0)]
Share = Annotated[float, Range(at_least=0, at_most=1)]
PositiveShare = Annotated[float, Range(above=0, at_most=1)]
ShareBelow1 = Annotated[float, Range(at_least=0, below=1)]  # of dropped values: at 1 nothing would be left
OpenShare = Annotated[float, Range(above=0, below=1)]

MlpRatio = Annotated[float, Range(above=0, at_most=64)]  # hidden width of a block, as a multiple of D

PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def convert(value: object, annotation: object, key_path: str) -> Any:
    """Convert a value from a config to the type that a signature declares.

    Nothing is guessed: a bool or text is no number, and a number with a fraction is no int. An int becomes a float
    where a float is declared, a list a tuple. A mapping becomes a dataclass where one is declared.

    Args:
        value: scalars, lists and dicts.
        annotation: a type, with `Range` where it is a number; anything may be given where it is not a plain type.
        key_path: where the value stands, for errors.

    Returns:
        The converted value.

    Raises:
        ConfigError: the value does not fit.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _convert_annotated(value, annotation, key_path)
    if origin is Literal:
        return _convert_choice(value, annotation, key_path)
    if origin in (Union, UnionType):
        return _convert_union(value, annotation, key_path)
    if annotation in PLAIN:
        return _convert_scalar(value, annotation, key_path)
    if annotation in (Any, object):
        return value
    if annotation is Path:
        return Path(convert(value, str, key_path))
    if annotation is None or annotation is NoneType:
        _require(value is None, value, annotation, key_path)
    elif is_dataclass(annotation):
        return _convert_dataclass(value, annotation, key_path)
    elif _is_list(annotation):
        _require(isinstance(value, list | tuple), value, annotation, key_path)
        return _convert_list(value, origin or annotation, arguments, key_path)
    elif _is_dict(annotation):
        _require(isinstance(value, Mapping), value, annotation, key_path)
        return _convert_dict(value, arguments, key_path)
    elif _is_callable(annotation):
        _require(_is_node(value) or callable(value), value, annotation, key_path)
    elif isinstance(annotation, type) and _is_plain_value(value):
        raise ConfigError(f"{key_path}: {format_value(value)} is not a {annotation.__name__}, which no config can hold")
    return value


def describe(annotation: object) -> str:
    """Describe what a type allows, to complete "is not ...".

    Args:
        annotation: as for `convert`.
    """
    if get_origin(annotation) is Annotated:
        kind, *conditions = get_args(annotation)
        described = describe(kind)
        for condition in conditions:
            described = f"{described} {condition}" if isinstance(condition, Range | NotEmpty) else describe(condition)
        return described
    if get_origin(annotation) is Literal:
        choices = [format_value(choice, quote=False) for choice in get_args(annotation) if choice is not None]
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(describe(kind) for kind in get_args(annotation) if kind is not NoneType)
    if annotation is None or annotation is NoneType:
        return "null"
    if _is_list(annotation):
        return "a list"
    if _is_dict(annotation) or is_dataclass(annotation):
        return "a mapping {key: value}"
    if _is_callable(annotation):
        return "a node with a _target_"
    return PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))  # type: ignore[call-overload,no-any-return]


def list_choices(annotation: object) -> list[str]:
    """List the words that a type allows, as they are written in YAML.

    Args:
        annotation: as for `convert`.
    """
    if get_origin(annotation) is Literal:
        return [format_value(choice, quote=False) for choice in get_args(annotation)]
    choices = []
    for argument in get_args(annotation):
        choices += list_choices(argument)
    return choices


def format_value(value: object, quote: bool = True) -> str:
    """Format a value for an error, as it is written in YAML, and shortened.

    Args:
        value: of a config.
        quote: put quotes around a text.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str) and not quote:
        return value
    if isinstance(value, Mapping):
        value = dict(value)
    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = shortener.maxlong = 60
    return shortener.repr(value)


def _require(fits: bool, value: object, annotation: object, key_path: str, hint: str = "") -> None:
    if not fits:
        raise ConfigError(f"{key_path}: {format_value(value)} is not {describe(annotation)}{hint}")


def _convert_annotated(value: object, annotation: object, key_path: str) -> object:
    kind, *conditions = get_args(annotation)
    try:
        converted = convert(value, kind, key_path)
    except ConfigError:
        if kind not in (int, float):
            raise
        hint = f"; write {value:.0f}" if isinstance(value, float) and kind is int and value.is_integer() else ""
        _require(False, value, annotation, key_path, hint)
    for condition in conditions:
        if isinstance(condition, Range | NotEmpty):
            _require(condition.contains(converted), value, annotation, key_path)
        else:  # a type: the config keeps the value in a field of any type
            converted = convert(converted, condition, key_path)
    return converted


def _convert_choice(value: object, annotation: object, key_path: str) -> object:
    choices = get_args(annotation)
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return value
    hint = ""
    if isinstance(value, str):
        hint = nearest(value, [choice for choice in choices if isinstance(choice, str)])
    _require(False, value, annotation, key_path, hint)
    return value


def _convert_union(value: object, annotation: object, key_path: str) -> object:
    kinds = get_args(annotation)
    if value is None and NoneType in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not NoneType)
    if len(kinds) == 1:
        return convert(value, kinds[0], key_path)
    for kind in kinds:  # an error inside a list or mapping names the item
        if (isinstance(value, list | tuple) and _is_list(kind)) or (isinstance(value, Mapping) and _is_dict(kind)):
            return convert(value, kind, key_path)
    # A type that no config can hold, such as a Tensor, is what a live object may be; it allows no plain value.
    plain = tuple(kind for kind in kinds if _is_plain(kind)) or kinds
    for kind in plain:
        try:
            return convert(value, kind, key_path)
        except ConfigError:
            continue
    words: list[str] = []
    for kind in plain:
        if get_origin(kind) is Literal:
            words += [choice for choice in get_args(kind) if isinstance(choice, str)]
    hint = nearest(value, words) if isinstance(value, str) else ""
    _require(False, value, Union[plain], key_path, hint)  # noqa: UP007 - of a tuple
    return value


def _convert_scalar(value: object, kind: object, key_path: str) -> object:
    if kind is float:
        _require(isinstance(value, int | float) and not isinstance(value, bool), value, kind, key_path)
        assert isinstance(value, int | float)
        if isinstance(value, float) or abs(value) < 2**1000:
            _require(math.isfinite(value), value, kind, key_path)
            return float(value)
        _require(False, value, kind, key_path)
    is_other_scalar = kind is str and isinstance(value, int | float) and "[" not in key_path
    hint = f"""; put it in quotes: "{key_path}='...'\"""" if is_other_scalar else ""
    _require(type(value) is kind, value, kind, key_path, hint)
    if kind is int and isinstance(value, int):
        _require(abs(value) < 2**63, value, kind, key_path)
    return value


def _convert_list(value: Any, kind: object, arguments: Sequence[object], key_path: str) -> object:
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        _require_length(value, len(arguments), key_path)
        kinds = list(arguments)
    else:
        kinds = [arguments[0] if arguments else Any] * len(value)
    items = [convert(item, kinds[place], f"{key_path}[{place}]") for place, item in enumerate(value)]
    return tuple(items) if kind is tuple else items


def _require_length(value: Sequence[object], length: int, key_path: str) -> None:
    if len(value) != length:
        raise ConfigError(f"{key_path}: {format_value(value)} has {len(value)} values, not {length}")


def _convert_dict(value: Any, arguments: Sequence[object], key_path: str) -> dict[Any, object]:
    key_kind, kind = arguments or (Any, Any)
    for key in value:
        if key_kind is str and not isinstance(key, str):
            raise ConfigError(f"{key_path}: the key {format_value(key)} is not a text; quote it")
    return {key: convert(item, kind, f"{key_path}.{key}") for key, item in value.items()}


def _convert_dataclass(value: object, kind: Any, key_path: str) -> object:
    _require(isinstance(value, Mapping), value, kind, key_path)
    assert isinstance(value, Mapping)
    prefix = f"{key_path}." if key_path else ""
    names = [key.name for key in fields(kind)]
    for key in value:
        if key not in names:
            hint = nearest(str(key), names)
            raise ConfigError(f"no key '{prefix}{key}'{hint} ({key_path or 'a run'} has {', '.join(names)})")
    hints = _resolve_hints(kind)
    values = {}
    for field in fields(kind):
        if field.name in value:
            values[field.name] = convert(value[field.name], hints[field.name], f"{prefix}{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{prefix}{field.name} is not set")
    return kind(**values)


@functools.cache
def _resolve_hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _is_node(value: object) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _is_plain_value(value: object) -> bool:
    return value is None or (isinstance(value, str | int | float | list | dict) and not _is_node(value))


def _is_list(annotation: object) -> bool:
    kind = get_origin(annotation) or annotation
    return kind in (list, tuple, Sequence, Iterable)


def _is_dict(annotation: object) -> bool:
    kind = get_origin(annotation) or annotation
    return kind in (dict, Mapping)


def _is_callable(annotation: object) -> bool:
    return (get_origin(annotation) or annotation) is Callable


def _is_plain(annotation: object) -> bool:
    """Return whether a config can hold values of a type."""
    if get_origin(annotation) in (Annotated, Literal):
        return True
    return annotation in PLAIN or _is_list(annotation) or _is_dict(annotation) or _is_callable(annotation)
