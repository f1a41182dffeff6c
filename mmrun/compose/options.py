"""The YAML files of each group, and the folders in which they lie."""

import functools
from collections.abc import Sequence
from pathlib import Path

from mmrun import plugins
from mmrun.config import RunConfig, config_dir, schema
from mmrun.errors import ConfigError
from mmrun.hydra_internals import UserConfigs, register


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


def list_options(group: str) -> list[str]:
    """List the YAML files of a group.

    Args:
        group: for example fusion, or encoder/image.

    Returns:
        Their names without suffix, sorted: attention, concat ...
    """
    names: set[str] = set()
    for folder in (*UserConfigs.folders, config_dir()):
        names |= {path.stem for path in (folder / group).glob("*.yaml")}
    return sorted(names)


@functools.cache
def register_schema() -> None:
    """Make the keys of a run known to Hydra, once."""
    register(schema(RunConfig))
