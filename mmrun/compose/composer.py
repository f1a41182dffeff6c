"""Composes checked RunConfigs from overrides, those of a sweep quickly: runs that differ in numbers share the rest."""

import copy
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

from omegaconf import DictConfig, OmegaConf

from mmrun import hydra_internals
from mmrun.compose.errors import hydra_errors
from mmrun.compose.options import list_options, register_schema
from mmrun.compose.rewriting import compose_train, find_path, rewrite
from mmrun.config import LABEL_DEFAULTS, LABELS, RunConfig, check, config_dir, parse
from mmrun.dataset_path import read_dataset_paths
from mmrun.hydra_internals import split_sweep
from mmrun.kinds import Kind
from mmrun.overrides import check_number_of_runs, check_overrides, check_single_run, reject_intervals
from mmrun.quoting import decode_keys, decode_names, quote_values
from mmrun.recipe import apply_recipe

AUGMENTATIONS = "mmrun.objectives.augment.Augmentations"  # the class of a node that says what augments each kind

# Nodes whose values decide which files are composed, but for the share of labels
DECISIVE = {"dataset", "model", "modalities", "augment", "cache", "choices"}
LABEL_KEYS = {f"dataset.{key}" for key in LABELS}
PLAIN_KEY = re.compile(r"[A-Za-z_]\w*(\.\w+)*")
REFERENCE = re.compile(r"\$\{(?:oc\.env:[^${}]*|\.*\w[\w.]*)\}")  # an interpolation that names the keys it reads

Number = int | float


@dataclass(frozen=True)
class Composition:
    """What files and overrides say, before it is checked.

    Attributes:
        composed: all keys, interpolations unresolved.
        values: all keys as plain values.
        choices: the YAML file chosen for each node.
    """

    composed: DictConfig
    values: dict[str, Any]
    choices: dict[str, str]

    @cached_property
    def referenced_keys(self) -> set[str] | None:
        """The words in interpolations, whose keys are read elsewhere; None: not known, any key may be."""
        words: set[str] = set()
        for text in _list_interpolations(OmegaConf.to_container(self.composed)):
            if "${" in REFERENCE.sub("", text):
                return None
            words |= set(re.findall(r"\w+", text))
        return words

    def has_number(self, key_path: str) -> bool:
        """Return whether a key holds a number, and nothing else depends on it."""
        keys = key_path.split(".")
        if self.referenced_keys is None or self.referenced_keys & set(keys):
            return False
        value: object = self.values
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return type(value) in (int, float)

    def set_numbers(self, numbers: Mapping[str, Number]) -> "Composition":
        """Return a copy with other numbers, by key path."""
        values = dict(self.values)
        for key_path, number in numbers.items():
            *parents, last_key = key_path.split(".")
            node = values
            for parent in parents:
                node[parent] = dict(node[parent])
                node = node[parent]
            node[last_key] = number
        return replace(self, values=values)


def _list_interpolations(value: object) -> list[str]:
    """List the texts with an interpolation in plain values."""
    if isinstance(value, str):
        return [value] if "${" in value else []
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    texts = []
    for item in items:
        texts += _list_interpolations(item)
    return texts


class Composer:
    """Composes the runs of one command; each config is what `load` returns for the run alone.

    Runs that differ in numbers alone, such as seeds and learning rates, share one composition, unless a number decides
    which files are read or an interpolation reads it.
    """

    def __init__(self) -> None:
        self._datasets = list_options("dataset")
        self._compositions: dict[tuple[str, ...], Composition] = {}

    def load(self, overrides: Sequence[str]) -> RunConfig:
        """Compose and check the config of one run.

        Args:
            overrides: as typed after `mmrun train`.

        Returns:
            The resolved config.

        Raises:
            ConfigError: an override names an option or a key that does not exist, or has a value that does not fit.
        """
        overrides = read_dataset_paths(overrides, self._datasets)
        check_overrides(overrides)
        overrides = quote_values(overrides)
        with hydra_errors():
            reject_intervals(overrides)
            check_single_run(overrides)
            composition = self.compose(overrides)
        return _build_config(composition, overrides)

    def compose(self, overrides: Sequence[str]) -> Composition:
        """Compose what the files and overrides of one run say, unchecked.

        Args:
            overrides: in Hydra's grammar, but for choices that are named by their place.
        """
        numbers = _read_numbers(overrides)
        while True:
            keys = [override.partition("=")[0] for override in overrides]
            shared = tuple(key if key in numbers else override for key, override in zip(keys, overrides, strict=True))
            if shared not in self._compositions:
                self._compositions[shared] = _compose(overrides)
                return self._compositions[shared]
            composition = self._compositions[shared]
            decisive = [key for key in numbers if not composition.has_number(key)]
            if not decisive:
                return composition.set_numbers(numbers)
            for key in decisive:
                del numbers[key]


def _read_numbers(overrides: Sequence[str]) -> dict[str, Number]:
    """Return the numbers that overrides set, by key, but for those that may decide which files are read."""
    paths = [find_path(override.partition("=")[0]) for override in overrides]
    numbers = {}
    for override in overrides:
        key = override.partition("=")[0]
        may_vary = key in LABEL_KEYS or key.partition(".")[0] not in DECISIVE
        if may_vary and PLAIN_KEY.fullmatch(key) and paths.count(key) == 1 and not _is_in_mapping(key, overrides):
            value = hydra_internals.parse(override).value()
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers[key] = value
    return numbers


def _is_in_mapping(key: str, overrides: Sequence[str]) -> bool:
    """Return whether an override sets or removes a whole mapping in which a key lies."""
    for override in overrides:
        path = find_path(override.partition("=")[0])
        if key.startswith(f"{path}.") and (override.startswith("~") or "{" in override):
            return True
    return False


def _compose(overrides: Sequence[str]) -> Composition:
    rewritten, modalities = rewrite(overrides)
    composed, choices = compose_train(rewritten)
    values: Any = decode_keys(OmegaConf.to_container(composed, resolve=True))
    return Composition(composed, {**values, "modalities": modalities}, _drop_implied_choices(choices, rewritten))


def _build_config(composition: Composition, overrides: Sequence[str]) -> RunConfig:
    config = parse(copy.deepcopy(composition.values))
    config.dataset = {**LABEL_DEFAULTS, **config.dataset}
    config.choices = dict(composition.choices)
    if "experiment" in config.choices:
        config.experiment = config.choices["experiment"]
    _drop_unused_encoders(config)
    _drop_unused_stages(config)
    config.model = config.model or None  # model=none composes an empty node
    config.balance = config.balance or None
    config.augment = _simplify_augmentation(config.augment, config.modalities or ())
    apply_recipe(config, overrides)
    check(config)
    return config


def load(overrides: Sequence[str]) -> RunConfig:
    """Compose and check the config of one run.

    Args:
        overrides: as typed after `mmrun train`.

    Returns:
        The resolved config.

    Raises:
        ConfigError: an override names an option or a key that does not exist, or has a value that does not fit.
    """
    return Composer().load(overrides)


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Expand the overrides of a sweep.

    Args:
        overrides: with comma-separated values, for example seed=0,1 fusion=sum,mean.

    Returns:
        The overrides of each run, one for every combination of values, in the order typed.
    """
    with hydra_errors():
        overrides = read_dataset_paths(overrides, list_options("dataset"), is_sweep=True)
        check_overrides(overrides)
        overrides = quote_values(overrides, is_sweep=True)
        reject_intervals(overrides)
        check_number_of_runs(overrides)
        return [list(map(decode_names, run)) for run in split_sweep(overrides)]


def load_option(group: str, name: str, overrides: Sequence[str] = ()) -> dict[str, object]:
    """Compose one YAML file of a group.

    Args:
        group: for example encoder/image.
        name: of the file, without suffix.
        overrides: applied to it.

    Returns:
        Its node.
    """
    register_schema()
    with hydra_errors():
        composed, _ = hydra_internals.compose(f"{group}/{name}", overrides, config_dir())
        node: Any = decode_keys(OmegaConf.to_container(composed, resolve=True))
    for key in group.split("/"):
        node = node[key]
    return dict(node)


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
    typed = {find_path(override.partition("=")[0]) for override in overrides}
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
