"""Shell words -> a checked RunConfig, and a node -> an object. The one module that knows Hydra."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from mmrun.errors import ConfigError

ALLOWED = ("mmrun.", "torch.optim.")  # what a `_target_` may name; a config that came with a run is data


def config_dir() -> Path:
    """Find the shipped configs: the repository's while mmrun is developed, else those inside the wheel."""
    package = Path(__file__).resolve().parent
    repository = package.parent / "configs"
    return repository if (repository / "train.yaml").is_file() else package / "configs"


def options(group: str) -> list[str]:
    """Give the names of a group's YAML files: options("fusion") -> ["attention", "concat", ...]."""
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def option(group: str, name: str) -> dict[str, Any]:
    """Give the node that one YAML file of a group stands for, its defaults list applied."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        node: Any = OmegaConf.to_container(hydra_compose(f"{group}/{name}"), resolve=True)
    for key in group.split("/"):
        node = node[key]
    return node


def nearest(word: str, known: Iterable[str]) -> str:
    """Give "; did you mean 'x'?" for the nearest known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def target(node: Mapping[str, Any], where: str) -> Callable[..., Any]:
    """Find the class or function that a node's `_target_` names."""
    path = node.get("_target_")
    if not isinstance(path, str) or not path.startswith(ALLOWED):
        raise ConfigError(f"{where}._target_: {path!r} is not one of {', '.join(p + '*' for p in ALLOWED)}")
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(f"{where}._target_: {path}: {error}") from None


def make(node: Mapping[str, Any], where: str, offer: Mapping[str, Any] | None = None, **objects: Any) -> Any:
    """Build what a node describes: its values, the live `objects`, and of `offer` what the signature names.

    A node inside the node is handed over as a maker, a callable with offers of its own: maker(**offer). An error blames
    the YAML key, `where`.
    """
    call = target(node, where)
    values = {key: _maker(value, f"{where}.{key}") for key, value in node.items() if key != "_target_"}
    names = inspect.signature(call).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in names.values())
    for key in values:
        if key not in names and not open_ended:
            raise ConfigError(f"{where}.{key}: {node['_target_']} takes no such argument{nearest(key, names)}")
    offered = {key: value for key, value in (offer or {}).items() if key in names and key not in values}
    given = {**values, **offered, **objects}
    for key, parameter in names.items():
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD and key not in given:
            raise ConfigError(f"{where}: {node['_target_']} needs '{key}', which nothing here gives")
    return call(**given)


def _maker(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return functools.partial(_make_offered, value, where)
        return {key: _maker(item, f"{where}.{key}") for key, item in value.items()}
    return value


def _make_offered(node: Mapping[str, Any], where: str, **offer: Any) -> Any:
    return make(node, where, offer)
