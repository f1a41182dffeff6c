"""A config node becomes an object, if the class that it names may be named in its place."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from mmrun import plugins
from mmrun.errors import ConfigError, nearest

# Where the classes of each kind of node are defined. A config that somebody else wrote is data: it can name these, and
# what an allowed package defines, but no other function that happens to be importable.
PACKAGES = {
    "preprocess": "mmrun.data.preprocess",
    "optimizer": "torch.optim",
    "objective": "mmrun.objectives",
    "pretext": "mmrun.objectives",
    "balance": "mmrun.objectives.balance",
    "augment": "mmrun.objectives",
    "adapt": "mmrun.models.adapters",
    "callbacks": "mmrun.run.callbacks",
    "sweep": "mmrun.search",
    "dataset": "mmrun.data.sources",
    "fusion": "mmrun.models.fusions",
    "encoder": "mmrun.models.encoders",
}


def find_target(node: Mapping[str, Any], key_path: str) -> Callable[..., Any]:
    """Return the class or function that a node's `_target_` names.

    Args:
        node: a mapping with a `_target_`.
        key_path: its place in the config; it decides where the class has to be defined.

    Raises:
        ConfigError: it may not be named here, or does not exist.
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
    found: Callable[..., Any] = target
    return found


def _package_of(key_path: str) -> str:
    """Return the package that holds the classes for a place in the config."""
    keys = key_path.split(".")
    kind = keys[0]
    if kind == "encoder" and keys[-1] == "preprocess":
        kind = "preprocess"
    elif kind == "strategy":  # strategy.adapt, strategy.stages.NAME.objective
        kind = "adapt" if keys[1] == "adapt" else keys[3]
    return PACKAGES[kind]


def _is_defined_in(target: Any, package: str) -> bool:
    """Return whether a class or function is defined in a package, or in an allowed one, and not just imported there."""
    if not (inspect.isclass(target) or inspect.isfunction(target)):
        return False
    return (
        target.__module__ == package
        or target.__module__.startswith(f"{package}.")
        or plugins.is_allowed(f"{target.__module__}.{target.__name__}")
    )


def instantiate(
    node: Mapping[str, Any],
    key_path: str,
    optional_kwargs: Mapping[str, Any] | None = None,
    drop: Sequence[str] = (),
    **objects: Any,
) -> Any:
    """Build what a node describes.

    A node inside the node is passed as a callable that builds it later: `nested(**optional_kwargs)`.

    Args:
        node: `_target_`, and arguments by name.
        key_path: the YAML key of the node, for error messages.
        optional_kwargs: arguments that are passed if the signature names them and the node does not.
        drop: keys of the node that are not arguments.
        objects: further arguments.

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


def _defer(value: Any, key_path: str) -> Any:
    """Replace the nodes in a value by callables that build them."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return functools.partial(_instantiate_nested, value, key_path)
        return {key: _defer(item, f"{key_path}.{key}") for key, item in value.items()}
    return value


def _instantiate_nested(node: Mapping[str, Any], key_path: str, **optional_kwargs: Any) -> Any:
    return instantiate(node, key_path, optional_kwargs)
