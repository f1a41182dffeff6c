"""Rewrites overrides in Hydra's form, and adds the encoders that nobody chose."""

from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, cast, get_args

from omegaconf import DictConfig, OmegaConf

from mmrun import hydra_internals
from mmrun.augment_overrides import rewrite_augmentation
from mmrun.compose.errors import hydra_errors, spell_group
from mmrun.compose.options import list_options, register_schema
from mmrun.config import LABELS, config_dir, require_node
from mmrun.errors import ConfigError, nearest
from mmrun.instantiate import check_values, find_target, instantiate
from mmrun.kinds import KINDS, Kind
from mmrun.quoting import decode_keys, decode_names
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
    "weights",
    "lr_scale",
    "encoder_lr",
}

ADAPTER_PATH = "strategy.adapt"

# Overrides that depend on the modalities of the data set and their kinds, or on `model`, begin with one of these
OF_MODALITIES = ("encoder", "~encoder", "augment.", "~augment.", "fusion.", ADAPTER_PATH)

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


def compose_train(overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """Compose `train.yaml`.

    Returns:
        The config, and the YAML file chosen for each node: {"strategy": "component", "encoder.image": "cnn", ...}.
    """
    register_schema()
    with hydra_errors():
        composed, names = hydra_internals.compose("train", overrides, config_dir())
    choices = {}
    for key, name in names.items():
        group, _, package = key.partition("@")
        choices[package or group.replace("/", ".")] = name
    return composed, choices


def rewrite(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
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
    first, first_choices = compose_train(_rewrite_by_group(independent, {}))
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
    is_typed = any(find_path(override.partition("=")[0]) == "fusion" for override in overrides)
    fusion = first_choices["fusion"]
    return fusion if is_typed or fusion != DEFAULT_FUSION else None


def _refuse_other_encoders(towers: Collection[str], chosen: Collection[str], overrides: Sequence[str]) -> None:
    """Raise an error if another encoder is chosen where a tower of the pretrained model is one."""
    typed = {find_path(override.partition("=")[0]): override for override in overrides}
    for path in towers:
        if path in typed:
            raise ConfigError(f"{decode_names(typed[path])}: {path} is a tower of model; leave one of the two out")
        if path in chosen:
            raise ConfigError(f"model: {path} is one of its towers, but the experiment chooses another; add model=none")


def find_path(key: str) -> str:
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
        path = find_path(key)
        group = _find_group(path, groups)
        names = value.split(",")
        is_off = value == "null" and group is not None and group.startswith("augment/")
        if is_off:
            override = f"++{path}=null"
        if group is None or not equals or is_off or any(name.startswith(("{", "[", "$")) for name in names):
            rewritten[override] = override
            continue
        _check_options(path, group, names)
        plus = "" if path in chosen or path.endswith(".objective") or group.startswith("pretext/") else "+"
        at = "" if path == group.replace("/", ".") else f"@{path}"
        rewritten[path] = f"{plus}{group}{at}={value}"
    return list(rewritten.values())


def _find_group(path: str, groups: Mapping[str, str]) -> str | None:
    last_key = path.rpartition(".")[2]
    if path not in groups and path.startswith("strategy.stages."):
        if last_key in ("objective", "optimizer"):
            return last_key
        if path.endswith(f".objective.by_kind.{last_key}") and last_key in KINDS:
            return f"pretext/{last_key}"
    if path == f"tasks.{last_key}":
        return "task"
    return groups.get(path)


def _check_options(path: str, group: str, names: Sequence[str]) -> None:
    options = list_options(group)
    for name in names:
        if name not in options:
            place = f"{spell_group(group)}{nearest(name, options)}"
            raise ConfigError(f"{path}: no option '{name}' in {place} (there are {', '.join(options)})")


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
