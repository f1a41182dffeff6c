"""Third-party packages whose classes a config may name.

Code is run only from packages that the user has allowed: on the shell (`--allow my_parts`), by `$MMRUN_ALLOW`, or by
installing a distribution with an entry point in the group `mmrun`. A config itself can never allow a package.
"""

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from mmrun.errors import ConfigError

VARIABLE = "MMRUN_ALLOW"  # package names, separated by commas; child processes inherit it
ENTRY_POINTS = "mmrun"  # group of entry points; the value of each is a package's name


def allow(packages: Iterable[str]) -> None:
    """Allow packages in this process and in those that it starts.

    Args:
        packages: importable names, or names of packages in the working folder.

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
    names = dict.fromkeys([*_from_environment(), *_installed_packages()])
    for name in names:
        _make_importable(name)
    return list(names)


def is_allowed(target: str) -> bool:
    """Return whether a class or function lies in an allowed package.

    Args:
        target: its dotted path.
    """
    return any(target.startswith(f"{package}.") for package in allowed_packages())


def config_folders() -> list[Path]:
    """Return the `configs` folders of allowed packages. Their YAML files are options like those of mmrun itself.

    Returns:
        in the order of the packages; a package without such a folder is left out.
    """
    folders = []
    for name in allowed_packages():
        spec = importlib.util.find_spec(name)
        for location in (spec.submodule_search_locations or []) if spec else []:
            if (Path(location) / "configs").is_dir():
                folders.append(Path(location) / "configs")
    return folders


def code_files() -> list[Path]:
    """Return the Python files of allowed packages, which a result may depend on besides mmrun's own code.

    Returns:
        in the order of the packages, sorted within each.
    """
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
    """Remove `--allow PACKAGE` from a command line.

    Args:
        arguments: of the command line.

    Returns:
        the remaining arguments, and the packages.

    Raises:
        ConfigError: the last argument is `--allow`.
    """
    remaining: list[str] = []
    packages: list[str] = []
    iterator = iter(arguments)
    for argument in iterator:
        if argument == "--allow":
            package = next(iterator, None)
            if package is None:
                raise ConfigError("--allow: expected the name of a package, for example --allow my_parts")
            packages += package.split(",")
        elif argument.startswith("--allow="):
            packages += argument.removeprefix("--allow=").split(",")
        else:
            remaining.append(argument)
    return remaining, packages


@cache
def _installed_packages() -> list[str]:
    """Return the packages that installed distributions allow; a run asks often, and each scan takes milliseconds."""
    return [point.value for point in entry_points(group=ENTRY_POINTS)]


def _from_environment() -> list[str]:
    return [name for name in os.environ.get(VARIABLE, "").split(",") if name]


def _make_importable(package: str) -> None:
    """Add the working folder to the import path if the package lies there and is not installed."""
    if not all(part.isidentifier() for part in package.split(".")):
        raise ConfigError(f"--allow {package}: not the name of a package")
    top = package.split(".")[0]
    if importlib.util.find_spec(top) is not None:
        return
    folder = Path.cwd()
    if not ((folder / top).is_dir() or (folder / f"{top}.py").is_file()):
        raise ConfigError(f"--allow {package}: no such package, neither installed nor in {folder}")
    sys.path.append(str(folder))
    importlib.invalidate_caches()
