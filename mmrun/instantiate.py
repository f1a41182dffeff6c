"""Build objects from config nodes, if the class that a node names is allowed at its place in the config."""

import functools
import inspect
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_origin, get_type_hints

from mmrun import plugins
from mmrun.errors import ConfigError, nearest
from mmrun.values import convert

# The package that defines the classes of each kind of node. A config may come from someone else, so it is data: it can
# name these classes, and those of allowed packages, but no other function that happens to be importable.
PACKAGES = {
    "preprocess": "mmrun.data.preprocess",
    "optimizer": "torch.optim",
    "objective": "mmrun.objectives",
    "pretext": "mmrun.objectives",
    "balance": "mmrun.objectives.balance",
    "augment": "mmrun.objectives",
    "adapt": "mmrun.models.adapters",
    "head": "mmrun.models.heads",
    "callbacks": "mmrun.run.callbacks",
    "tasks": "mmrun.tasks",
    "sweep": "mmrun.search",
    "dataset": "mmrun.data.sources",
    "fusion": "mmrun.models.fusions",
    "encoder": "mmrun.models.encoders",
}

# What a node of each kind makes, and a node inside one; checked where mmrun's own classes are named.
TYPES = {
    "preprocess": "mmrun.data_types.Preprocessor",
    "optimizer": "torch.optim.Optimizer",
    "objective": "mmrun.types.Objective",
    "pretext": "torch.nn.Module",
    "balance": "mmrun.types.Objective",
    "augment": "mmrun.objectives.augment.Augmentations",
    "adapt": "builtins.bool",
    "head": "torch.nn.Module",
    "callbacks": "mmrun.training.callback.Callback",
    "sweep": "mmrun.search.Search",
    "dataset": "mmrun.data.table.Table",
    "fusion": "mmrun.types.Fusion",
    "encoder": "mmrun.types.Encoder",
}
NESTED_TYPES = {
    **dict.fromkeys(("objective", "pretext", "balance", "fusion", "encoder"), "torch.nn.Module"),
    "augment": "mmrun.types.Augmentation",
    "sweep": "optuna.samplers.BaseSampler",
}

DESCRIPTIONS = ("describe", "infer_modalities")  # functions beside a source that take its node and open nothing
# What constructors raise for values that fit their types, but not each other
UNFIT_VALUES = (ValueError, TypeError, AssertionError, ArithmeticError, LookupError, RuntimeError, MemoryError)


def find_target(node: Mapping[str, object], key_path: str) -> Callable[..., Any]:
    """Return the class or function that a node's `_target_` names.

    Args:
        node: a mapping with a `_target_`.
        key_path: its place in the config, which decides the package that must define the class.

    Raises:
        ConfigError: it is not allowed at this place, or does not exist.
    """
    path = node.get("_target_")
    package = PACKAGES[_find_place(key_path).kind]
    if not isinstance(path, str) or not (path.startswith(f"{package}.") or plugins.is_allowed(path)):
        raise ConfigError(
            f"{key_path}._target_: {path!r} is not in {package}; to use a class of your own, allow its package with "
            "--allow PACKAGE"
        )
    module_name, _, name = path.rpartition(".")
    try:
        target = getattr(import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key_path}._target_: {path}: {error}") from None
    if not _is_defined_in(target, package):
        raise ConfigError(f"{key_path}._target_: {path} is not a class or function defined there")
    if not plugins.is_allowed(path):
        _check_type(target, path, key_path)
    function: Callable[..., Any] = target
    return function


class _Place(NamedTuple):
    """A place in the config: the kind of its node, and whether the node lies inside another one of that kind."""

    kind: str
    is_nested: bool


def _find_place(key_path: str) -> _Place:
    """Return which place a key path names."""
    keys = key_path.split(".")
    kind, depth = keys[0], 1
    if kind == "encoder" and keys[-1] == "preprocess":
        return _Place("preprocess", False)
    if kind in ("encoder", "callbacks"):
        depth = 2
    elif kind == "strategy":  # strategy.adapt, strategy.head, strategy.stages.NAME.objective
        kind, depth = (keys[3], 4) if keys[1] == "stages" else (keys[1], 2)
    return _Place(kind, len(keys) > depth)


def _check_type(target: Callable[..., Any], path: str, key_path: str) -> None:
    """Raise an error if a class of ours, or what a function of ours returns, is not of the type of its place."""
    place = _find_place(key_path)
    type_name = NESTED_TYPES.get(place.kind) if place.is_nested else TYPES[place.kind]
    if type_name is None or (place.kind == "dataset" and target.__name__ in DESCRIPTIONS):
        return
    module_name, _, name = type_name.rpartition(".")
    expected = getattr(import_module(module_name), name)
    made = target if inspect.isclass(target) else get_type_hints(target).get("return")
    made = get_origin(made) or made
    if not inspect.isclass(made) or not _fits(made, expected):
        raise ConfigError(f"{key_path}._target_: {path} is no {name}, which this place needs")


def _fits(made: type, expected: type) -> bool:
    """Return whether a class is another one's subclass, or has the methods of a protocol."""
    if not getattr(expected, "_is_protocol", False):
        return issubclass(made, expected)
    methods = [name for name, value in vars(expected).items() if inspect.isfunction(value) and name[0] != "_"]
    return all(hasattr(made, method) for method in methods)


def _is_defined_in(target: object, package: str) -> bool:
    """Return whether a package, or an allowed one, defines a class or function, rather than importing it."""
    if not (inspect.isclass(target) or inspect.isfunction(target)):
        return False
    return (
        target.__module__ == package
        or target.__module__.startswith(f"{package}.")
        or plugins.is_allowed(f"{target.__module__}.{target.__name__}")
    )


def instantiate(
    node: Mapping[str, object],
    key_path: str,
    optional_kwargs: Mapping[str, object] | None = None,
    drop: Sequence[str] = (),
    **objects: object,
) -> Any:
    """Build the object that a node describes.

    A node inside the node is passed as a callable that builds it later: `nested(**more_optional_kwargs)`. It is offered
    the same optional arguments, and those of the call.

    Args:
        node: `_target_`, and arguments by name.
        key_path: the YAML key of the node, for error messages.
        optional_kwargs: arguments that are passed if the signature names them and the node does not.
        drop: keys of the node that are not arguments.
        objects: further arguments, such as live objects.

    Returns:
        an object of the class that the node names, or what the function returns.

    Raises:
        ConfigError: the node names an unknown class or argument, leaves out a required one, or has a value that does
            not fit.
    """
    target = find_target(node, key_path)
    offered = dict(optional_kwargs or {})
    values = {}
    for key, value in _convert_values(node, key_path, drop).items():
        values[key] = _defer(value, f"{key_path}.{key}", offered)
    parameters = inspect.signature(target).parameters
    optional = {key: value for key, value in offered.items() if key in parameters and key not in values}
    arguments = {**values, **optional, **objects}
    for key, parameter in parameters.items():
        is_required = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if is_required and key not in arguments:
            raise ConfigError(f"{key_path}: {node['_target_']} needs '{key}', which is not given here")
    try:
        return target(**arguments)
    except ConfigError as error:
        raise ConfigError(_locate(str(error), key_path)) from error
    except UNFIT_VALUES as error:
        raise ConfigError(f"{key_path}: {target.__name__} cannot be built: {_explain(error)}") from error


def check_values(node: Mapping[str, object], key_path: str, drop: Sequence[str] = ()) -> None:
    """Check what can be checked of a node, and of the nodes inside it, without building them.

    Args:
        node: `_target_`, and arguments by name.
        key_path: the YAML key of the node, for error messages.
        drop: keys of the node that are not arguments.

    Raises:
        ConfigError: a class or argument is unknown, or a value does not have the type or range that the signature of
            its class declares.
    """
    for key, value in _convert_values(node, key_path, drop).items():
        _check_nested(value, f"{key_path}.{key}")


def _check_nested(value: object, key_path: str) -> None:
    if isinstance(value, Mapping):
        if "_target_" in value:
            check_values(value, key_path)
        else:
            for key, item in value.items():
                _check_nested(item, f"{key_path}.{key}")


def _convert_values(node: Mapping[str, object], key_path: str, drop: Sequence[str]) -> dict[str, object]:
    """Return the arguments in a node, converted to the types that the signature of its class declares."""
    target = find_target(node, key_path)
    parameters = inspect.signature(target).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    annotations = _annotations(target)
    values = {}
    for key, value in node.items():
        if key == "_target_" or key in drop:
            continue
        if key not in parameters and not takes_any:
            raise ConfigError(f"{key_path}.{key}: {node['_target_']} takes no such argument{nearest(key, parameters)}")
        values[key] = convert(value, annotations.get(key, Any), f"{key_path}.{key}")
    return values


@functools.cache
def _annotations(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the type of each argument, with its range."""
    function = target.__init__ if inspect.isclass(target) else target
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # annotations that exist only for type checkers
        return {}


def _locate(message: str, key_path: str) -> str:
    """Return the message of a class, which knows the last keys of its place at most, with the whole path."""
    keys = key_path.split(".")
    first_key = re.split(r"[.:]", message, maxsplit=1)[0]
    if first_key == keys[0]:
        return message
    if first_key in keys:
        return ".".join([*keys[: keys.index(first_key)], message])
    return f"{key_path}: {message}"


def _explain(error: Exception) -> str:
    """Return the first line of an error of a constructor, and where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    message = (str(error).strip().splitlines() or ["no message"])[0]
    return f"{message} ({type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno})"


def _defer(value: object, key_path: str, offered: Mapping[str, object]) -> object:
    """Replace the nodes in a value with callables that build them."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return functools.partial(_instantiate_nested, value, key_path, **offered)
        return {key: _defer(item, f"{key_path}.{key}", offered) for key, item in value.items()}
    return value


def _instantiate_nested(node: Mapping[str, object], key_path: str, **optional_kwargs: object) -> Any:
    """Build a node that lies inside another one."""
    return instantiate(node, key_path, optional_kwargs)
