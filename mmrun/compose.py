"""Composes a checked RunConfig from overrides.

Overrides are the arguments of `mmrun train`: `strategy=component`, `encoder.image=resnet18`, `~optimizer.eps`.
"""

import functools
import os
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, cast, get_args

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from mmrun import hydra_internals, plugins, renamed
from mmrun.augment_overrides import rewrite_augmentation
from mmrun.config import (
    LABEL_DEFAULTS,
    LABELS,
    BudgetConfig,
    RunConfig,
    StageConfig,
    TrainerConfig,
    Values,
    check,
    config_dir,
    parse,
    require_node,
    schema,
)
from mmrun.dataset_path import read_dataset_paths
from mmrun.errors import ConfigError, nearest
from mmrun.hydra_internals import UserConfigs, register, split_sweep
from mmrun.instantiate import check_values, find_target, instantiate
from mmrun.kinds import Kind
from mmrun.overrides import check_number_of_runs, check_overrides, check_single_run, reject_intervals
from mmrun.quoting import decode_keys, decode_names, quote_values, suggest_quotes
from mmrun.recipe import apply_recipe
from mmrun.towers import override_encoders, override_fusion
from mmrun.values import convert

# The keys below these are the user's; none needs a +
USER_KEYS = {
    "columns",
    "kinds",
    "task",
    "tasks",
    "order",
    "read",
    "items",
    "layout",
    "align",
    "weights",
    "lr_scale",
    "encoder_lr",
}

ADAPTER_PATH = "strategy.adapt"

# Overrides that depend on the modalities of the data set and their kinds, or on `model`, begin with one of these
OF_MODALITIES = ("encoder", "~encoder", "augment.", "~augment.", "fusion.", ADAPTER_PATH)

AUGMENTATIONS = "mmrun.objectives.augment.Augmentations"  # the class of a node that says what augments each kind

INIT = "init"  # a key of every encoder and of the fusion: the part of another run that initializes it

DEFAULT_ENCODER = {
    "image": "cnn",
    "text": "gru",
    "audio": "logmel_cnn",
    "tabular": "mlp",
    "series": "cnn1d",
    "points": "pointnet",
    "video": "frames",
}
DEFAULT_FUSION = "concat"  # of train.yaml
GROUPS_WITHOUT_DEFAULT = ("model", "balance")  # they have keys once an option is chosen


# ------------------------------------------------------------------------------------------------------ YAML files


def use_config_dirs(extra: Sequence[str | Path] = ()) -> None:
    """Set the folders that are searched for YAML files before the shipped ones.

    They are, in order: those in `extra`, `./configs`, and the `configs` folders of allowed packages.

    Args:
        extra: folders given by the user.

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
    """List the folders that are searched for YAML files.

    Returns:
        Those set by `use_config_dirs`, then that of the shipped files.
    """
    return [*UserConfigs.folders, config_dir()]


def list_options(group: str) -> list[str]:
    """List the YAML files of a group.

    Args:
        group: for example fusion, or encoder/image.

    Returns:
        Their names without suffix, sorted: attention, concat ...
    """
    names: set[str] = set()
    for folder in config_folders():
        names |= {path.stem for path in (folder / group).glob("*.yaml")}
    return sorted(names)


def load_option(group: str, name: str, overrides: Sequence[str] = ()) -> dict[str, object]:
    """Compose one YAML file of a group.

    Args:
        group: for example encoder/image.
        name: of the file, without suffix.
        overrides: applied to it.

    Returns:
        Its node.
    """
    _register_schema()
    with _hydra_errors():
        composed, _ = hydra_internals.compose(f"{group}/{name}", overrides, config_dir())
        node: Any = decode_keys(OmegaConf.to_container(composed, resolve=True))
    for key in group.split("/"):
        node = node[key]
    return dict(node)


# ---------------------------------------------------------------------------------------- overrides -> RunConfig


def load(overrides: Sequence[str]) -> RunConfig:
    """Compose and check the config of one run.

    Args:
        overrides: as typed after `mmrun train`.

    Returns:
        The resolved config.

    Raises:
        ConfigError: an override names an option or a key that does not exist, or has a value that does not fit.
    """
    overrides = read_dataset_paths(overrides, list_options("dataset"))
    check_overrides(overrides)
    overrides = quote_values(overrides)
    with _hydra_errors():
        reject_intervals(overrides)
        check_single_run(overrides)
        rewritten, modalities = _rewrite(overrides)
        composed, choices = _compose(rewritten)
        values: Any = decode_keys(OmegaConf.to_container(composed, resolve=True))
    values["modalities"] = modalities
    config = parse(values)
    config.dataset = {**LABEL_DEFAULTS, **config.dataset}
    config.choices = _drop_implied_choices(choices, rewritten)
    if "experiment" in config.choices:
        config.experiment = config.choices["experiment"]
    _drop_unused_encoders(config)
    _drop_unused_stages(config)
    config.model = config.model or None  # model=none composes an empty node
    config.balance = config.balance or None
    config.augment = _simplify_augmentation(config.augment, modalities)
    apply_recipe(config, overrides)
    check(config)
    return config


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Expand the overrides of a sweep.

    Args:
        overrides: with comma-separated values, for example seed=0,1 fusion=sum,mean.

    Returns:
        The overrides of each run, one for every combination of values, in the order typed.
    """
    with _hydra_errors():
        overrides = read_dataset_paths(overrides, list_options("dataset"), is_sweep=True)
        check_overrides(overrides)
        overrides = quote_values(overrides, is_sweep=True)
        reject_intervals(overrides)
        check_number_of_runs(overrides)
        return [list(map(decode_names, run)) for run in split_sweep(overrides)]


def restore(values: Values) -> RunConfig:
    """Restore the config of an existing run.

    Args:
        values: contents of config.yaml in its run folder, of this or an earlier version.

    Returns:
        The config, checked.

    Raises:
        ConfigError: a value does not fit.
    """
    _refuse_interpolations(values)
    try:
        return _restore(values)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # it may come from someone else
        raise ConfigError(f"config.yaml is damaged ({type(error).__name__}: {error}); train the run again") from None


def _restore(values: Values) -> RunConfig:
    config = parse(renamed.translate_config(values))
    for modality, node in config.encoder.items():
        if not (isinstance(node, Mapping) and isinstance(node.get("preprocess"), Mapping)):
            raise ConfigError(f"encoder.{modality}: has no preprocess; write the node of one of the encoders there")
    config.dataset = {**LABEL_DEFAULTS, **config.dataset}  # earlier runs lack some of these keys
    check(config)
    return config


def _refuse_interpolations(values: object, key_path: str = "") -> None:
    """Raise an error if a stored config reads environment variables or other keys: mmrun stores resolved values."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            _refuse_interpolations(value, f"{key_path}.{key}" if key_path else str(key))
    elif isinstance(values, list):
        for value in values:
            _refuse_interpolations(value, key_path)
    elif isinstance(values, str) and "${" in values:
        raise ConfigError(f"{key_path}: '{values}' is not a resolved value; write the value itself in config.yaml")


def as_dict(config: RunConfig) -> dict[str, object]:
    """Convert the config of a run to plain values.

    Returns:
        Nested dicts, lists and scalars, as a run folder stores them.
    """
    return asdict(config)


def as_yaml(config: RunConfig) -> str:
    """Format the config of a run.

    Returns:
        YAML text.
    """
    return OmegaConf.to_yaml(OmegaConf.create(as_dict(config)))


@functools.cache
def _register_schema() -> None:
    register(schema(RunConfig))


def _compose(overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """Compose `train.yaml`.

    Returns:
        The config, and the YAML file chosen for each node: {"strategy": "component", "encoder.image": "cnn", ...}.
    """
    _register_schema()
    with _hydra_errors():
        composed, names = hydra_internals.compose("train", overrides, config_dir())
    choices = {}
    for key, name in names.items():
        group, _, package = key.partition("@")
        choices[package or group.replace("/", ".")] = name
    return composed, choices


def _rewrite(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Rewrite overrides in Hydra's form: `encoder.image=cnn`, the path of a node, as `encoder/image@encoder.image=cnn`.

    Every modality of the data set gets an encoder: a tower of the pretrained model, if one is chosen and has one, else
    the default one of its kind if no override chooses another.

    Returns:
        The overrides, and the modalities that the run reads.
    """
    independent = []
    for override in overrides:
        if not override.partition("=")[0].lstrip("+").startswith(OF_MODALITIES):
            independent.append(override)
    first, first_choices = _compose(_rewrite_by_group(independent, {}))
    kinds = _read_kinds(_resolve(first, "dataset"), Path(convert(_resolve(first, "cache"), str, "cache")).expanduser())
    modalities = _read_modalities(_resolve(first, "modalities"), kinds)
    encoders = {f"encoder.{modality}": f"encoder/{kinds[modality]}" for modality in modalities}
    augmentations = {f"augment.{kind}": f"augment/{kind}" for kind in get_args(Kind)}
    augmentations |= {f"augment.by_modality.{modality}": f"augment/{kind}" for modality, kind in kinds.items()}
    groups = {**encoders, **augmentations, ADAPTER_PATH: "adapter"}
    overrides = rewrite_augmentation(overrides, kinds, get_args(Kind), first_choices, _resolve(first, "augment"))
    chosen = {path for path in first_choices if path in groups}  # by an experiment, the strategy or augment=NAME
    model = convert(_resolve(first, "model") or {}, dict[str, str | None], "model")
    fusion = override_fusion(model, _read_chosen_fusion(first_choices, overrides)) if model else []
    kinds_read = {modality: kinds[modality] for modality in modalities}
    towers = override_encoders(model, kinds_read, is_fused=bool(fusion)) if model else {}
    _refuse_other_encoders(towers, chosen, overrides)
    defaults = [*fusion, *chain.from_iterable(towers.values())]
    chosen_by_kind = convert(_resolve(first, "strategy.encoders"), dict[Kind, str], "strategy.encoders")
    default_encoder = {**DEFAULT_ENCODER, **chosen_by_kind}
    for path in encoders:
        if path not in chosen and path not in towers:
            defaults.append(f"{path}={default_encoder[kinds[path.removeprefix('encoder.')]]}")
    rewritten = _rewrite_by_group([*defaults, *overrides], groups, chosen)
    return rewritten, modalities


def _read_chosen_fusion(first_choices: Mapping[str, str], overrides: Sequence[str]) -> str | None:
    """Return the fusion that the user or an experiment chose; None: the default one."""
    is_typed = any(_find_path(override.partition("=")[0]) == "fusion" for override in overrides)
    fusion = first_choices["fusion"]
    return fusion if is_typed or fusion != DEFAULT_FUSION else None


def _refuse_other_encoders(towers: Collection[str], chosen: Collection[str], overrides: Sequence[str]) -> None:
    """Raise an error if another encoder is chosen where a tower of the pretrained model is one."""
    typed = {_find_path(override.partition("=")[0]): override for override in overrides}
    for path in towers:
        if path in typed:
            raise ConfigError(f"{decode_names(typed[path])}: {path} is a tower of model; leave one of the two out")
        if path in chosen:
            raise ConfigError(f"model: {path} is one of its towers, but the experiment chooses another; add model=none")


def _find_path(key: str) -> str:
    """Return the path of the node that an override changes: encoder.image for +encoder/image@encoder.image."""
    return key.lstrip("+~").rpartition("@")[2].replace("/", ".")


def _resolve(composed: DictConfig, key: str) -> Any:
    """Return the value of a key as plain values, with its interpolations resolved."""
    value = OmegaConf.select(composed, key)
    return decode_keys(OmegaConf.to_container(value, resolve=True)) if OmegaConf.is_config(value) else value


def _read_modalities(value: object, kinds: Mapping[str, str]) -> list[str]:
    """Return the modalities that a run reads, checked; by default all of the data set."""
    if value is None:
        return list(kinds)
    modalities: list[str] = convert(value, list[str], "modalities")
    if not modalities:
        raise ConfigError(f"modalities: a run needs at least one (the data set has {', '.join(kinds)})")
    for modality in modalities:
        if modality not in kinds:
            raise ConfigError(
                f"modalities: the data set has no '{modality}'{nearest(modality, kinds)} (it has {', '.join(kinds)})"
            )
        if modalities.count(modality) > 1:
            raise ConfigError(f"modalities: '{modality}' is listed twice")
    return modalities


def _rewrite_by_group(overrides: Sequence[str], groups: Mapping[str, str], chosen: Collection[str] = ()) -> list[str]:
    """Rewrite `path=NAME` as `group@path=NAME` where a node of that group lies at the path; the last override counts.

    `groups` maps paths to groups; `chosen` are the paths whose group is already in the defaults list.
    """
    rewritten: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        owner, _, last_key = key.rpartition(".")
        is_init = last_key == INIT and (owner in groups or owner == "fusion")
        if not override.startswith("~") and (USER_KEYS & set(key.split(".")) or is_init):
            override = f"++{override.lstrip('+')}"
        path = _find_path(key)
        group = _find_group(path, groups)
        names = value.split(",")
        is_off = value == "null" and group is not None and group.startswith("augment/")
        if is_off:
            override = f"++{path}=null"
        if group is None or not equals or is_off or any(name.startswith(("{", "[", "$")) for name in names):
            rewritten[override] = override
            continue
        _check_options(path, group, names)
        plus = "" if path in chosen or path.endswith(".objective") else "+"
        at = "" if path == group.replace("/", ".") else f"@{path}"
        rewritten[path] = f"{plus}{group}{at}={value}"
    return list(rewritten.values())


def _find_group(path: str, groups: Mapping[str, str]) -> str | None:
    last_key = path.rpartition(".")[2]
    if path not in groups and path.startswith("strategy.stages.") and last_key in ("objective", "optimizer"):
        return last_key
    if path == f"tasks.{last_key}":
        return "task"
    return groups.get(path)


def _check_options(path: str, group: str, names: Sequence[str]) -> None:
    options = list_options(group)
    for name in names:
        if name not in options:
            hint = nearest(name, options)
            raise ConfigError(f"{path}: no option '{name}' in {_spell(group)}{hint} (there are {', '.join(options)})")


def _read_kinds(dataset: Any, cache: Path) -> dict[str, str]:
    """Return the kind of each modality of a data set, from its YAML or, if the source can `describe` it, its file."""
    require_node(dataset, "dataset")
    check_values(dataset, "dataset", drop=LABELS)
    source = import_module(find_target(dataset, "dataset").__module__)
    if hasattr(source, "describe"):
        node = {**dataset, "_target_": f"{source.__name__}.describe"}
        return cast(dict[str, str], instantiate(node, "dataset", {"cache": cache}, drop=LABELS))
    kinds: dict[str, str] = convert(dataset.get("kinds"), dict[str, Kind], "dataset.kinds")
    if not kinds:
        raise ConfigError("dataset.kinds: names no modality")
    return kinds


def _drop_unused_encoders(config: RunConfig) -> None:
    """Drop the encoders of modalities that the run does not read: they must not make it another run."""
    assert config.modalities is not None
    config.encoder = {modality: config.encoder[modality] for modality in config.modalities}
    choices = {}
    for path, name in config.choices.items():
        if not path.startswith("encoder.") or path.removeprefix("encoder.") in config.encoder:
            choices[path] = name
    config.choices = choices


def _drop_implied_choices(choices: Mapping[str, str], overrides: Sequence[str]) -> dict[str, str]:
    """Drop the files of augmentations by kind that `augment=NAME` chooses."""
    typed = {_find_path(override.partition("=")[0]) for override in overrides}
    return {path: name for path, name in choices.items() if not path.startswith("augment.") or path in typed}


def _simplify_augmentation(node: Any, modalities: Collection[str]) -> Any:
    """Drop what augments modalities that the run does not read; return None where nothing is augmented."""
    if not isinstance(node, Mapping) or not node:
        return node or None
    simplified = {key: value for key, value in node.items() if key not in get_args(Kind) or value is not None}
    by_modality = simplified.get("by_modality")
    if isinstance(by_modality, Mapping):
        read = {modality: value for modality, value in by_modality.items() if modality in modalities}
        simplified = {**simplified, "by_modality": read}
    if not simplified.get("by_modality", True):
        del simplified["by_modality"]
    return simplified if set(simplified) != {"_target_"} or node["_target_"] != AUGMENTATIONS else None


def _drop_unused_stages(config: RunConfig) -> None:
    """Drop the stages that a pretrained model takes the place of."""
    if config.model:
        stages = config.strategy.stages
        config.strategy.stages = {name: stage for name, stage in stages.items() if not stage.without_model}


# -------------------------------------------------------------------------------------------------------- errors


class _hydra_errors:  # noqa: N801 - a context manager, used as a statement
    """Turns errors of Hydra and OmegaConf into a ConfigError of one line."""

    def __enter__(self) -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, HydraException | OmegaConfBaseException):
            raise ConfigError(decode_names(_format_error(error))) from None
        if isinstance(error, ValueError | TypeError | LookupError | AssertionError | RecursionError):
            package = traceback.extract_tb(error.__traceback__)[-1].filename
            if any(name in package for name in ("omegaconf", "hydra", "antlr4")):
                message = (str(error).splitlines() or [type(error).__name__])[0]
                raise ConfigError(f"the overrides cannot be composed: {message}") from error


def _spell(group: str) -> str:
    """Return a group as overrides name it; Hydra's own keep their slash."""
    return group if group.startswith("hydra/") else group.replace("/", ".")


def _format_error(error: BaseException) -> str:
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = list(error.options or list_options(group))
        return f"{_spell(group)}: no option '{name}'{nearest(name, options)} (there are {', '.join(options)})"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read; {_suggest_override(str(error.override))}"
    if isinstance(error, ConfigCompositionException) and isinstance(error.__cause__, OmegaConfBaseException):
        return _format_error(error.__cause__)
    if isinstance(error, ConfigCompositionException) and "is already at" in str(error):
        key = str(error).splitlines()[0].rpartition(" ")[2].strip("'.")
        return f"{key}: this key is set already; leave out the +"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return _format_key_error(error, error.full_key)
    return str(error).splitlines()[0]


def _suggest_override(override: str) -> str:
    """Return what to type instead of an override that Hydra cannot read."""
    key, equals, _ = override.partition("=")
    if not equals:
        return "write key=value"
    try:
        hydra_internals.parse(f"{key}=0")
    except OverrideParseException:
        return "its key may hold a-z, 0-9, _ and points"
    return f"to set it literally, type {suggest_quotes(override)}"


# What OmegaConf says of a scalar or list in the place of a mapping
IS_MAPPING = ("is not a subclass of", "Cannot assign", "Cannot merge DictConfig", "is not Optional")


def _format_key_error(error: OmegaConfBaseException, key_path: str) -> str:
    message = str(error.msg or error).splitlines()[0]
    if any(text in message for text in IS_MAPPING):
        return f"{key_path}: this is a mapping; set its keys one by one: {key_path}.KEY=VALUE"
    if "does not support deletion" in message:
        return f"{key_path}: this key cannot be removed; set it to another value"
    parent, _, key = key_path.rpartition(".")
    siblings = [str(sibling) for sibling in error.parent_node] if OmegaConf.is_dict(error.parent_node) else []
    if not siblings and isinstance(error, ConfigKeyError | ConfigAttributeError):
        options = [name for name in list_options(parent) if name != "none"] if parent in GROUPS_WITHOUT_DEFAULT else []
        remedy = f"; add {parent}={'|'.join(options)}" if options else ""
        return f"no key '{key_path}': {parent} has no keys{remedy}"
    if key in siblings or not siblings:
        return f"{key_path}: {message}"
    hint = nearest(key, siblings) or (_suggest_deeper_key(key) if not parent else "")
    return f"no key '{key_path}'{hint} ({parent or 'a run'} has {', '.join(siblings)})"


def _suggest_deeper_key(key: str) -> str:
    """Return a hint at a key of this name that lies deeper: budget.epochs for epochs."""
    for path, part in {"budget": BudgetConfig, "trainer": TrainerConfig, "strategy.stages.STAGE": StageConfig}.items():
        if key in {field.name for field in fields(cast(Any, part))}:
            return f"; did you mean '{path}.{key}'?"
    return ""
