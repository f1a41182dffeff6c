"""The code and the library versions that a stored result depends on: they enter its key."""

import functools
import hashlib
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from mmrun import plugins

# Required libraries that results depend on
LIBRARIES = (
    *("torch", "torchvision", "timm", "transformers", "tokenizers", "accelerate", "hydra-core", "omegaconf"),
    *("numpy", "scipy", "scikit-learn", "pyarrow", "pillow", "soundfile", "safetensors", "peft"),
)
# What preprocessors decode with
DECODERS = ("numpy", "pillow", "av", "scipy", "soundfile", "tokenizers", "transformers")


def library_versions(libraries: Iterable[str] = LIBRARIES) -> dict[str, str | None]:
    """Return the versions of Python and of some libraries, None where one is not installed.

    Args:
        libraries: names of distributions; by default all that results depend on.
    """
    return {"python": platform.python_version(), **{library: find_version(library) for library in libraries}}


@functools.cache
def find_version(library: str) -> str | None:
    """Return the installed version of a library without importing it.

    Args:
        library: name of its distribution, as pip knows it.

    Returns:
        The version, or None where the library is not installed.
    """
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def digest_package(parts: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> str:
    """Return a digest of mmrun's own code.

    Args:
        parts: the packages of mmrun to read; empty: all code.
        without: packages of mmrun to leave out.
    """
    package = Path(__file__).parent
    files = []
    for file in sorted(package.rglob("*.py")):
        part = file.relative_to(package).parts[0]
        if part not in without and (part in parts or not parts):
            files.append(file)
    return _digest_files(files, package)


def digest_plugins() -> str:
    """Return a digest of the code of all allowed packages."""
    return _digest_files(plugins.code_files(), None)


def digest_code_of(target: type, parts: tuple[str, ...]) -> list[str]:
    """Return digests of the code that a class runs.

    Args:
        target: the class; where an allowed package defines it, the code of these packages counts.
        parts: packages of mmrun that it may use.
    """
    path = f"{target.__module__}.{target.__name__}"
    plugin_digests = [path, digest_plugins()] if plugins.is_allowed(path) else []
    return [digest_package(parts), *plugin_digests]


def _digest_files(files: Iterable[Path], root: Path | None) -> str:
    """Hash the contents of files, with their paths below a root or else their names."""
    digest = hashlib.sha256()
    for file in files:
        name = file.name if root is None else file.relative_to(root).as_posix()
        content = file.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
