"""Shell words -> a checked RunConfig, and a node -> an object. The one module that knows Hydra.

A word is what is typed after `mmrun train`: `strategy=component`, `encoder.image=resnet18`, `~trainer.trackers`.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from mmrun.config import LABELS, RunConfig, check, config_dir
from mmrun.errors import ConfigError, nearest

ALLOWED = ("mmrun.", "torch.optim.")  # what a `_target_` may name: a config that came with a run is data

FREE = {"columns", "kinds", "task", "order", "weights", "lr_scale"}  # the user's own keys: no + needed

ADAPT = "strategy.adapt"  # where an adapter stands, if any

INIT = "init"  # a key that every encoder has: the part of another run that it starts from

DEFAULT_ENCODER = {
    "image": "cnn",
    "text": "gru",
    "audio": "logmel_cnn",
    "tabular": "mlp",
    "series": "cnn1d",
}


# -------------------------------------------------------------------------------------- where the YAML files are


class UserConfigs(SearchPathPlugin):
    """Puts the user's folders before the shipped one, so that a file of the same name replaces ours."""

    folders: ClassVar[list[Path]] = []

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Prepend the folders; the first is searched first."""
        for folder in reversed(self.folders):
            search_path.prepend("user", f"file://{folder}")


Plugins.instance().register(UserConfigs)
ConfigStore.instance().store("schema", RunConfig)


def use_config_dirs(extra: Sequence[str | Path] = ()) -> None:
    """Search ./configs, and before it `extra`, ahead of the shipped configs in every later composition."""
    own = Path.cwd() / "configs"
    folders = [Path(folder).resolve() for folder in extra]
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"--config-dir {folder}: no such folder")
    if own.is_dir() and own != config_dir():
        folders.append(own)
    UserConfigs.folders = folders


def options(group: str) -> list[str]:
    """Give the names of a group's YAML files: options("fusion") -> ["attention", "concat", ...]."""
    folders = [*UserConfigs.folders, config_dir()]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def option(group: str, name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Give the node that one YAML file of a group stands for, its defaults list and some overrides applied."""
    with _hydra_errors(), initialize_config_dir(str(config_dir()), version_base="1.3"):
        node: Any = OmegaConf.to_container(hydra_compose(f"{group}/{name}", overrides=list(overrides)), resolve=True)
    for key in group.split("/"):
        node = node[key]
    return node


# -------------------------------------------------------------------------------------------- words -> RunConfig


def load(overrides: Sequence[str]) -> RunConfig:
    """Compose and check one run."""
    composed = _compose(_rewrite(overrides))
    with _hydra_errors():
        own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        config = _typed(OmegaConf.to_container(own, resolve=True))
    config.choices = _choices(composed)
    if "experiment" in config.choices:
        config.experiment = config.choices["experiment"]
    _keep_modalities(config)
    config.balance = config.balance or None  # balance=none is a run without
    config.augment = config.augment or None
    check(config)
    return config


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Give the words of every run of a sweep: seed=0,1 fusion=sum,mean -> four lists, in the order of the words."""
    with _hydra_errors():
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [list(job) for batch in batches for job in batch]


def restore(values: Mapping[str, Any]) -> RunConfig:
    """Make a RunConfig of the mapping that a run folder keeps."""
    with _hydra_errors():
        config = _typed(dict(values))
    config.dataset = {**dict.fromkeys(LABELS), **config.dataset}  # runs older than a key of these lack it
    check(config)
    return config


def _typed(values: Any) -> RunConfig:
    config: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RunConfig), values))
    return config


def as_dict(config: RunConfig) -> dict[str, Any]:
    """Give the plain mapping of a run's config: what is hashed, written and shown."""
    return asdict(config)


def as_yaml(config: RunConfig) -> str:
    """Give a run's config as it is read."""
    return OmegaConf.to_yaml(OmegaConf.create(as_dict(config)))


def _compose(overrides: Sequence[str]) -> DictConfig:
    with _hydra_errors(), initialize_config_dir(str(config_dir()), version_base="1.3"):
        return hydra_compose("train", overrides=list(overrides), return_hydra_config=True)


def _choices(composed: DictConfig) -> dict[str, str]:
    """Tell which YAML file stands where: {"strategy": "component", "encoder.image": "cnn", ...}."""
    chosen = {}
    for key, name in composed.hydra.runtime.choices.items():
        group, _, package = key.partition("@")
        if not group.startswith("hydra") and name is not None:
            chosen[package or group.replace("/", ".")] = name
    return chosen


def _rewrite(overrides: Sequence[str]) -> list[str]:
    """Give the words as Hydra wants them: a choice by its place, `encoder.image=cnn`, becomes one by its group.

    Every modality of the data set gets an encoder: the default one of its kind where no word names another.
    """
    plain = [override for override in overrides if not _key(override).startswith(("encoder", "~encoder", ADAPT))]
    first = _compose(_by_group(plain, {}))
    with _hydra_errors():
        kinds = _kinds(OmegaConf.to_container(first.dataset, resolve=True))
        wanted = first.modalities or list(kinds)
    for modality in wanted:
        if modality not in kinds:
            raise ConfigError(
                f"modalities: the data set has no '{modality}'{nearest(modality, kinds)} (it has {', '.join(kinds)})"
            )
    encoders = {f"encoder.{modality}": f"encoder/{kinds[modality]}" for modality in wanted}
    places = {**encoders, ADAPT: "adapter"}
    chosen = {place for place in _choices(first) if place in places}  # by an experiment, or the strategy
    defaults = [
        f"{place}={DEFAULT_ENCODER[kinds[place.removeprefix('encoder.')]]}" for place in encoders if place not in chosen
    ]
    return [*_by_group([*defaults, *overrides], places, chosen), f"modalities=[{','.join(wanted)}]"]


def _by_group(overrides: Sequence[str], places: Mapping[str, str], chosen: Iterable[str] = ()) -> list[str]:
    """Turn `place=name` into `group@place=name` where the place holds a node of that group; the last one counts."""
    rewritten: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        owner, _, own = key.rpartition(".")
        if FREE & set(key.split(".")) or (owner in places and own == INIT):
            override = f"++{override}"
        place = key.lstrip("+~").rpartition("@")[2].replace("/", ".")
        last = place.rpartition(".")[2]
        group = places.get(place)
        if group is None and place.startswith("strategy.stages.") and last in ("objective", "optimizer"):
            group = last
        names = value.split(",")
        if group is None or not equals or any(name.startswith(("{", "[", "$")) for name in names):
            rewritten[override] = override
            continue
        for name in names:
            if name not in options(group):
                known = ", ".join(options(group))
                raise ConfigError(
                    f"{place}: no option '{name}' in {group}{nearest(name, options(group))} (there are {known})"
                )
        plus = "" if place in chosen or last == "objective" else "+"
        at = "" if place == group.replace("/", ".") else f"@{place}"
        rewritten[place] = f"{plus}{group}{at}={value}"
    return list(rewritten.values())


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")


def _kinds(dataset: Any) -> dict[str, str]:
    """Tell the modalities of a data set and their kinds: from its YAML, or from the user's file where that decides."""
    source = import_module(target(dataset, "dataset").__module__)
    if hasattr(source, "describe"):
        described: dict[str, str] = instantiate(
            {**dataset, "_target_": f"{source.__name__}.describe"}, "dataset", drop=LABELS
        )
        return described
    return dict(dataset["kinds"])


def _keep_modalities(config: RunConfig) -> None:
    """Leave out the encoders of modalities that the run does not read, so that they are no part of its identity."""
    assert config.modalities is not None
    config.encoder = {modality: config.encoder[modality] for modality in config.modalities}
    config.choices = {
        place: name
        for place, name in config.choices.items()
        if not place.startswith("encoder.") or place.removeprefix("encoder.") in config.encoder
    }


# -------------------------------------------------------------------------------------------------------- errors


class _hydra_errors:  # noqa: N801 - a context manager, used as a statement
    """Says in one line what Hydra and OmegaConf say in ten."""

    def __enter__(self) -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, HydraException | OmegaConfBaseException):
            raise ConfigError(_in_one_line(error)) from None
        if isinstance(error, ValueError) and "must be a string or a list" in str(error):  # Hydra on `fusion=null`
            raise ConfigError("null is no option of a group; leave the word out, or name an option") from None


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        known = list(error.options or options(group))
        return f"{group}: no option '{name}'{nearest(name, known)} (there are {', '.join(known)})"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read; write key=value (quote what the shell or Hydra would take apart)"
    if isinstance(error, ConfigCompositionException):
        cause = error.__cause__
        if isinstance(cause, OmegaConfBaseException):
            return _in_one_line(cause)
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        place, _, key = error.full_key.rpartition(".")
        siblings = _siblings(error.parent_node)
        if not siblings and isinstance(error, ConfigKeyError | ConfigAttributeError):
            return f"no key '{error.full_key}': {place} is empty"
        if key in siblings or not siblings:
            return f"{error.full_key}: {str(error.msg or error).splitlines()[0]}"
        return f"no key '{error.full_key}'{nearest(key, siblings)} ({place or 'a run'} has {', '.join(siblings)})"
    return str(error).splitlines()[0]


def _siblings(node: Any) -> list[str]:
    return [str(key) for key in node] if OmegaConf.is_dict(node) else []


# ------------------------------------------------------------------------------------------------ node -> object


def target(node: Mapping[str, Any], key_path: str) -> Callable[..., Any]:
    """Find the class or function that a node's `_target_` names."""
    path = node.get("_target_")
    if not isinstance(path, str) or not path.startswith(ALLOWED):
        raise ConfigError(f"{key_path}._target_: {path!r} is not one of {', '.join(p + '*' for p in ALLOWED)}")
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(f"{key_path}._target_: {path}: {error}") from None


def instantiate(
    node: Mapping[str, Any],
    key_path: str,
    optional_kwargs: Mapping[str, Any] | None = None,
    drop: Sequence[str] = (),
    **objects: Any,
) -> Any:
    """Build what a node describes: its values less `drop`, the live `objects`, and of `offer` what the signature names.

    A node inside the node is handed over as a maker, a callable with offers of its own: maker(**offer). An error blames
    the YAML key, `where`.
    """
    call = target(node, key_path)
    values = {k: _deferred(v, f"{key_path}.{k}") for k, v in node.items() if k != "_target_" and k not in drop}
    names = inspect.signature(call).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in names.values())
    for key in values:
        if key not in names and not open_ended:
            raise ConfigError(f"{key_path}.{key}: {node['_target_']} takes no such argument{nearest(key, names)}")
    optional = {key: value for key, value in (optional_kwargs or {}).items() if key in names and key not in values}
    given = {**values, **optional, **objects}
    for key, parameter in names.items():
        needed = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if needed and key not in given:
            raise ConfigError(f"{key_path}: {node['_target_']} needs '{key}', which nothing here gives")
    return call(**given)


def _deferred(value: Any, key_path: str) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return functools.partial(_instantiate_nested, value, key_path)
        return {key: _deferred(item, f"{key_path}.{key}") for key, item in value.items()}
    return value


def _instantiate_nested(node: Mapping[str, Any], key_path: str, **optional_kwargs: Any) -> Any:
    return instantiate(node, key_path, optional_kwargs)
