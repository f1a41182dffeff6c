"""Overrides typed on the shell become a checked RunConfig.

An override is what is typed after `mmrun train`: `strategy=component`, `encoder.image=resnet18`, `~encoder.audio`.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from mmrun import plugins, renamed
from mmrun.config import LABELS, RunConfig, check, config_dir
from mmrun.errors import ConfigError, nearest
from mmrun.hydra_internals import UserConfigs, register, split_sweep
from mmrun.instantiate import find_target, instantiate

USER_KEYS = {"columns", "kinds", "task", "order", "weights", "lr_scale"}  # hold the user's own keys: no + needed

ADAPTER_PATH = "strategy.adapt"

INIT = "init"  # a key of every encoder: the part of another run that it starts from

DEFAULT_ENCODER = {
    "image": "cnn",
    "text": "gru",
    "audio": "logmel_cnn",
    "tabular": "mlp",
    "series": "cnn1d",
}


# ------------------------------------------------------------------------------------------- where YAML files are


def use_config_dirs(extra: Sequence[str | Path] = ()) -> None:
    """Set the folders that later compositions search before the shipped configs.

    They are, in order: those in `extra`, `./configs`, and the `configs` folders of allowed packages.

    Raises:
        ConfigError: a folder does not exist.
    """
    folders = [Path(folder).resolve() for folder in extra]
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"--config-dir {folder}: no such folder")
    user_configs = Path.cwd() / "configs"
    if user_configs.is_dir() and user_configs != config_dir():
        folders.append(user_configs)
    UserConfigs.folders = [*folders, *plugins.config_folders()]


def config_folders() -> list[Path]:
    """Return the folders that are searched, the first one first."""
    return [*UserConfigs.folders, config_dir()]


def list_options(group: str) -> list[str]:
    """Return the names of a group's YAML files: list_options("fusion") -> ["attention", "concat", ...]."""
    names: set[str] = set()
    for folder in config_folders():
        names |= {path.stem for path in (folder / group).glob("*.yaml")}
    return sorted(names)


def load_option(group: str, name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the node that one YAML file of a group describes.

    Args:
        group: for example encoder/image.
        name: of the file, without suffix.
        overrides: applied to it.
    """
    register(RunConfig)
    with _hydra_errors(), initialize_config_dir(str(config_dir()), version_base="1.3"):
        node: Any = OmegaConf.to_container(hydra_compose(f"{group}/{name}", overrides=list(overrides)), resolve=True)
    for key in group.split("/"):
        node = node[key]
    return node


# ---------------------------------------------------------------------------------------- overrides -> RunConfig


def load(overrides: Sequence[str]) -> RunConfig:
    """Compose and check one run.

    Raises:
        ConfigError: an override names what does not exist, or a value does not fit.
    """
    for override in overrides:
        renamed.check_override(override)
    composed = _compose(_rewrite(overrides))
    with _hydra_errors():
        run_keys = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        config = _to_run_config(OmegaConf.to_container(run_keys, resolve=True))
    config.choices = _choices(composed)
    if "experiment" in config.choices:
        config.experiment = config.choices["experiment"]
    _drop_unused_encoders(config)
    config.balance = config.balance or None  # balance=none composes an empty node
    config.augment = config.augment or None
    check(config)
    return config


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of every run of a sweep: seed=0,1 fusion=sum,mean -> four lists, in the order typed."""
    with _hydra_errors():
        return split_sweep(overrides)


def restore(values: Mapping[str, Any]) -> RunConfig:
    """Return the RunConfig that a run folder keeps, also one of an earlier version."""
    with _hydra_errors():
        config = _to_run_config(renamed.translate_config(values))
    config.dataset = {**dict.fromkeys(LABELS), **config.dataset}  # older runs lack some of these keys
    check(config)
    return config


def _to_run_config(values: Any) -> RunConfig:
    config: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RunConfig), values))
    return config


def as_dict(config: RunConfig) -> dict[str, Any]:
    """Return a run's config as a plain mapping."""
    return asdict(config)


def as_yaml(config: RunConfig) -> str:
    """Return a run's config as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(as_dict(config)))


def _compose(overrides: Sequence[str]) -> DictConfig:
    register(RunConfig)
    with _hydra_errors(), initialize_config_dir(str(config_dir()), version_base="1.3"):
        return hydra_compose("train", overrides=list(overrides), return_hydra_config=True)


def _choices(composed: DictConfig) -> dict[str, str]:
    """Return which YAML file was chosen where: {"strategy": "component", "encoder.image": "cnn", ...}."""
    choices = {}
    for key, name in composed.hydra.runtime.choices.items():
        group, _, package = key.partition("@")
        if not group.startswith("hydra") and isinstance(name, str):
            choices[package or group.replace("/", ".")] = name
    return choices


def _rewrite(overrides: Sequence[str]) -> list[str]:
    """Return the overrides in Hydra's form: a choice by its place, `encoder.image=cnn`, becomes one by its group.

    Every modality of the data set gets an encoder: the default one of its kind where no override names another.
    """
    independent = [o for o in overrides if not _key(o).startswith(("encoder", "~encoder", ADAPTER_PATH))]
    first = _compose(_by_group(independent, {}))
    with _hydra_errors():
        kinds = _kinds(OmegaConf.to_container(first.dataset, resolve=True))
        modalities = first.modalities or list(kinds)
    for modality in modalities:
        if modality not in kinds:
            raise ConfigError(
                f"modalities: the data set has no '{modality}'{nearest(modality, kinds)} (it has {', '.join(kinds)})"
            )
    encoders = {f"encoder.{modality}": f"encoder/{kinds[modality]}" for modality in modalities}
    places = {**encoders, ADAPTER_PATH: "adapter"}
    chosen = {place for place in _choices(first) if place in places}  # by an experiment or the strategy
    defaults = []
    for place in encoders:
        if place not in chosen:
            defaults.append(f"{place}={DEFAULT_ENCODER[kinds[place.removeprefix('encoder.')]]}")
    return [*_by_group([*defaults, *overrides], places, chosen), f"modalities=[{','.join(modalities)}]"]


def _by_group(overrides: Sequence[str], places: Mapping[str, str], chosen: Iterable[str] = ()) -> list[str]:
    """Turn `place=name` into `group@place=name` where the place holds a node of that group; the last one counts."""
    rewritten: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        owner, _, last_key = key.rpartition(".")
        if USER_KEYS & set(key.split(".")) or (owner in places and last_key == INIT):
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
        known = list_options(group)
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"{place}: no option '{name}' in {group}{nearest(name, known)} (there are {', '.join(known)})"
                )
        plus = "" if place in chosen or last == "objective" else "+"
        at = "" if place == group.replace("/", ".") else f"@{place}"
        rewritten[place] = f"{plus}{group}{at}={value}"
    return list(rewritten.values())


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")


def _kinds(dataset: Any) -> dict[str, str]:
    """Return the kind of each modality of a data set: from its YAML, or from the user's file where the source has
    `describe`."""
    source = import_module(find_target(dataset, "dataset").__module__)
    if hasattr(source, "describe"):
        node = {**dataset, "_target_": f"{source.__name__}.describe"}
        described: dict[str, str] = instantiate(node, "dataset", drop=LABELS)
        return described
    return dict(dataset["kinds"])


def _drop_unused_encoders(config: RunConfig) -> None:
    """Drop the encoders of modalities that the run does not read, so that they are no part of its identity."""
    assert config.modalities is not None
    config.encoder = {modality: config.encoder[modality] for modality in config.modalities}
    choices = {}
    for place, name in config.choices.items():
        if not place.startswith("encoder.") or place.removeprefix("encoder.") in config.encoder:
            choices[place] = name
    config.choices = choices


# -------------------------------------------------------------------------------------------------------- errors


class _hydra_errors:  # noqa: N801 - a context manager, used as a statement
    """Turns the errors of Hydra and OmegaConf into one line."""

    def __enter__(self) -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, HydraException | OmegaConfBaseException):
            raise ConfigError(_in_one_line(error)) from None
        if isinstance(error, ValueError) and "must be a string or a list" in str(error):  # Hydra on `fusion=null`
            raise ConfigError("null is not an option of a group; leave the override out, or name an option") from None


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        known = list(error.options or list_options(group))
        return f"{group}: no option '{name}'{nearest(name, known)} (there are {', '.join(known)})"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read; write key=value (quote what the shell or Hydra would split)"
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
