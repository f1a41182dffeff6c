"""Configs as plain values: written to a run folder, and restored from there."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import yaml

from mmrun import renamed
from mmrun.config import LABEL_DEFAULTS, RunConfig, Values, check, parse
from mmrun.errors import ConfigError


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
    return {field.name: _to_plain(getattr(config, field.name)) for field in fields(config)}


def _to_plain(value: object) -> object:
    """Convert dataclasses in a value to dicts. It takes a tenth of the time of `asdict`, which copies every scalar."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_to_plain, value))
    return value


def as_yaml(config: RunConfig) -> str:
    """Format the config of a run.

    Returns:
        YAML text.
    """
    text: str = yaml.dump(as_dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # PyYAML has no types
    """Writes no references, and quotes texts that OmegaConf would read as numbers: 1e-5."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="'" if _is_number(text) else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
