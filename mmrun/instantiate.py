"""Build objects from config nodes, if the class that a node names is allowed at its place in the config."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from mmrun import plugins
from mmrun.errors import ConfigError, nearest

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
    "callbacks": "mmrun.run.callbacks",
    "tasks": "mmrun.tasks",
    "sweep": "mmrun.search",
    "dataset": "mmrun.data.sources",
    "fusion": "mmrun.models.fusions",
    "encoder": "mmrun.models.encoders",
}


def find_target(node: Mapping[str, object], key_path: str) -> Callable[..., Any]:
    """Return the class or function that a node's `_target_` names.

    Args:
        node: a mapping with a `_target_`.
        key_path: its place in the config, which decides the package that must define the class.

    Raises:
        ConfigError: it is not allowed at this place, or does not exist.
    """
    path = node.get("_target_")
    package = _package_of(key_path)
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
    function: Callable[..., Any] = target
    return function


def _package_of(key_path: str) -> str:
    """Return the package that holds the classes for a place in the config."""
    keys = key_path.split(".")
    kind = keys[0]
    if kind == "encoder" and keys[-1] == "preprocess":
        kind = "preprocess"
    elif kind == "strategy":  # strategy.adapt, strategy.stages.NAME.objective
        kind = "adapt" if keys[1] == "adapt" else keys[3]
    return PACKAGES[kind]


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

    A node inside the node is passed as a callable that builds it later: `nested(**optional_kwargs)`.

    Args:
        node: `_target_`, and arguments by name.
        key_path: the YAML key of the node, for error messages.
        optional_kwargs: arguments that are passed if the signature names them and the node does not.
        drop: keys of the node that are not arguments.
        objects: further arguments, such as live objects.

    Returns:
        an object of the class that the node names, or what the function returns.

    Raises:
        ConfigError: the node names an unknown class or argument, or leaves out a required one.
    """
    target = find_target(node, key_path)
    values = {}
    for key, value in node.items():
        if key != "_target_" and key not in drop:
            values[key] = _defer(value, f"{key_path}.{key}")
    parameters = inspect.signature(target).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in values:
        if key not in parameters and not takes_any:
            raise ConfigError(f"{key_path}.{key}: {node['_target_']} takes no such argument{nearest(key, parameters)}")
    optional = {key: value for key, value in (optional_kwargs or {}).items() if key in parameters and key not in values}
    arguments = {**values, **optional, **objects}
    for key, parameter in parameters.items():
        is_required = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if is_required and key not in arguments:
            raise ConfigError(f"{key_path}: {node['_target_']} needs '{key}', which is not given here")
    return target(**arguments)


def _defer(value: object, key_path: str) -> object:
    """Replace the nodes in a value with callables that build them."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return functools.partial(_instantiate_nested, value, key_path)
        return {key: _defer(item, f"{key_path}.{key}") for key, item in value.items()}
    return value


def _instantiate_nested(node: Mapping[str, object], key_path: str, **optional_kwargs: object) -> Any:
    """Build a node that lies inside another one."""
    return instantiate(node, key_path, optional_kwargs)
