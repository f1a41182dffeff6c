"""Errors of Hydra and OmegaConf as one line, which says what to type."""

import os
import shlex
import traceback
from dataclasses import fields
from typing import Any, cast

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from mmrun import hydra_internals
from mmrun.compose.options import list_options
from mmrun.config import BudgetConfig, StageConfig, TrainerConfig
from mmrun.errors import ConfigError, nearest
from mmrun.quoting import decode_names, suggest_quotes

GROUPS_WITHOUT_DEFAULT = ("model", "balance")  # they have keys once an option is chosen


class hydra_errors:  # noqa: N801 - a context manager, used as a statement
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


def spell_group(group: str) -> str:
    """Return a group as overrides name it; Hydra's own keep their slash."""
    return group if group.startswith("hydra/") else group.replace("/", ".")


def _format_error(error: BaseException) -> str:
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = list(error.options or list_options(group))
        return f"{spell_group(group)}: no option '{name}'{nearest(name, options)} (there are {', '.join(options)})"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read; {_suggest_override(str(error.override))}"
    if isinstance(error, ConfigCompositionException) and isinstance(error.__cause__, OmegaConfBaseException):
        return _format_error(error.__cause__)
    if isinstance(error, ConfigCompositionException) and "is already at" in str(error):
        key = str(error).splitlines()[0].rpartition(" ")[2].strip("'.")
        return f"{key}: this key is set already; leave out the +"
    if isinstance(error, ConfigCompositionException) and str(error).startswith("Could not override '"):
        key, _, place = str(error).splitlines()[0].rpartition(" ")[2].strip("'.").partition("@")
        return (
            f"{place or key}: no option of {spell_group(key)} stands there that could be replaced; "
            "mmrun train --cfg job prints the config"
        )
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return _format_key_error(error, error.full_key)
    return str(error).splitlines()[0]


def _suggest_override(override: str) -> str:
    """Return what to type instead of an override that Hydra cannot read."""
    key, equals, _ = override.partition("=")
    if not equals:
        return f"write {shlex.quote(f'dataset={override}')}" if os.path.exists(override) else "write key=value"
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
