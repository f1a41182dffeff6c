"""Packages of other people whose classes a config may name.

Code is run only from packages that the user allowed: on the shell (`--allow my_parts`), by `$MMRUN_ALLOW`, or by
installing a distribution with an entry point in the group `mmrun`. What a config says can never allow a package.
"""

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from mmrun.errors import ConfigError

VARIABLE = "MMRUN_ALLOW"  # package names, separated by commas; child processes inherit it
ENTRY_POINTS = "mmrun"  # group of entry points; the value of each is a package's name


def allow(packages: Iterable[str]) -> None:
    """Allow packages in this process and in those that it starts.

    Args:
        packages: importable names; those beside the working folder count too.

    Raises:
        ConfigError: there is no such package.
    """
    requested = list(packages)
    for package in requested:
        _make_importable(package)
    names = dict.fromkeys([*_from_environment(), *requested])
    if names:
        os.environ[VARIABLE] = ",".join(names)


def allowed_packages() -> list[str]:
    """Return the names of all allowed packages.

    Raises:
        ConfigError: `$MMRUN_ALLOW` names a package that does not exist.
    """
    names = dict.fromkeys([*_from_environment(), *(point.value for point in entry_points(group=ENTRY_POINTS))])
    for name in names:
        _make_importable(name)
    return list(names)


def is_allowed(target: str) -> bool:
    """Return whether the path of a class lies in an allowed package."""
    return any(target.startswith(f"{package}.") for package in allowed_packages())


def config_folders() -> list[Path]:
    """Return the `configs` folders inside allowed packages: their YAML files are options like the shipped ones."""
    folders = []
    for name in allowed_packages():
        spec = importlib.util.find_spec(name)
        for location in (spec.submodule_search_locations or []) if spec else []:
            if (Path(location) / "configs").is_dir():
                folders.append(Path(location) / "configs")
    return folders


def code_files() -> list[Path]:
    """Return the Python files of allowed packages: what a result may depend on besides mmrun's own code."""
    files: list[Path] = []
    for name in allowed_packages():
        spec = importlib.util.find_spec(name)
        if spec is None:
            continue
        for location in spec.submodule_search_locations or []:
            files += sorted(Path(location).rglob("*.py"))
        if spec.submodule_search_locations is None and spec.origin is not None:
            files.append(Path(spec.origin))
    return files


def split_allowed(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take `--allow PACKAGE` out of a command line.

    Returns:
        The other arguments, and the packages.

    Raises:
        ConfigError: the last argument is `--allow`.
    """
    others: list[str] = []
    packages: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--allow":
            package = next(remaining, None)
            if package is None:
                raise ConfigError("--allow: expected the name of a package, for example --allow my_parts")
            packages += package.split(",")
        elif argument.startswith("--allow="):
            packages += argument.removeprefix("--allow=").split(",")
        else:
            others.append(argument)
    return others, packages


def _from_environment() -> list[str]:
    return [name for name in os.environ.get(VARIABLE, "").split(",") if name]


def _make_importable(package: str) -> None:
    """Add the working folder to the import path where the package lies there and nowhere else."""
    if not all(part.isidentifier() for part in package.split(".")):
        raise ConfigError(f"--allow {package}: not the name of a package")
    top = package.split(".")[0]
    if importlib.util.find_spec(top) is not None:
        return
    here = Path.cwd()
    if not ((here / top).is_dir() or (here / f"{top}.py").is_file()):
        raise ConfigError(f"--allow {package}: no such package, neither installed nor in {here}")
    sys.path.append(str(here))
    importlib.invalidate_caches()
