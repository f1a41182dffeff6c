"""Files that are written whole or not at all, and whose errors name the file."""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from mmrun.digests import hash_bytes
from mmrun.errors import DamagedError, StorageError

JSON_DIGEST = re.compile(rb'\{\n "digest": "([0-9a-f]{32})",')
YAML_DIGEST = re.compile(rb"# digest: ([0-9a-f]{32})\n")

# What to do about a damaged file, by its name; {run} is its folder
MENDS = {
    "metrics.json": "remove it, then mmrun resume {run} writes it again",
    "status.json": "remove it, then mmrun resume {run} writes it again",
    "environment.json": "remove it",
    "evaluation.json": "remove it, then mmrun eval {run} writes it again",
}


def write_atomically(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, and rename it when every byte has reached the disk.

    Args:
        file: final path; its folder exists.
        write: writes the content to the path that it is given.

    Raises:
        StorageError: the disk is full or cannot be written; the file is what it was before.
    """
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        write(unfinished)
        _sync(unfinished)
        os.replace(unfinished, file)
        _sync(file.parent)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise StorageError(f"{file}: cannot be written ({error.strerror or error})") from None


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left of files that `write_atomically` wrote.

    Args:
        folder: in which no other process writes.
    """
    for path in folder.glob(".*"):
        if path.suffix.removeprefix(".").isdigit():
            path.unlink(missing_ok=True)


def write_json(file: Path, value: object) -> None:
    """Write JSON, indented. A mapping gets a first line with the digest of the others.

    Args:
        file: its path.
        value: see `to_json_value`.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    text = json.dumps(to_json_value(value), indent=1, allow_nan=False) + "\n"
    if isinstance(value, Mapping) and value:
        text = f'{{\n "digest": "{hash_bytes(text.encode())}",{text[1:]}'
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))


def write_yaml(file: Path, value: object) -> None:
    """Write YAML with the keys in their order. A comment in the first line holds the digest of the others.

    Args:
        file: its path.
        value: mappings, lists, strings, numbers, booleans and None.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    text = f"# digest: {hash_bytes(text.encode())}\n{text}"
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))


def read_json(file: Path) -> Any:
    """Read JSON, without its digest.

    Raises:
        DamagedError: there is no such file, or it is not what was written.
    """
    value = _read(file, json.loads, "JSON", JSON_DIGEST, b"{")
    if isinstance(value, dict):
        value.pop("digest", None)
    return value


def read_yaml(file: Path) -> Any:
    """Read YAML.

    Raises:
        DamagedError: there is no such file, or it is not what was written.
    """
    return _read(file, yaml.safe_load, "YAML", YAML_DIGEST, b"")


def explain_mend(file: Path) -> str:
    """Return what to do about a damaged file of a run.

    Args:
        file: in a run folder.
    """
    mend = MENDS.get(file.name, "remove the run folder and train again")
    return mend.format(file=file, run=file.parent)


def to_json_value(value: object) -> object:
    """Convert a value to what `json.dumps` accepts.

    Args:
        value: mappings, lists and tuples of strings, booleans, numbers, NumPy numbers and arrays, and None.

    Returns:
        The same with plain numbers, lists and string keys; a number that is not finite becomes None.
    """
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    if hasattr(value, "tolist"):  # a NumPy number or array
        return to_json_value(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _read(file: Path, parse: Callable[[bytes], object], language: str, digest: re.Pattern[bytes], start: bytes) -> Any:
    """Read, check and parse a file; errors name it and say what to do."""
    try:
        content = file.read_bytes()
        match = digest.match(content)  # files of version 0.1.0 have none
        if match is not None and hash_bytes(start + content[match.end() :]) != match[1].decode():
            raise DamagedError(
                f"{file}: damaged, its bytes changed after they were written; {explain_mend(file)} "
                "(if you edited it on purpose, remove its line with the digest)"
            )
        return parse(content)
    except FileNotFoundError:
        raise DamagedError(f"{file}: no such file; this is not a run folder, or the run did not get that far") from None
    except OSError as error:
        raise DamagedError(f"{file}: cannot be read ({error.strerror}); {explain_mend(file)}") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = str(error).replace("\n", " ")
        raise DamagedError(f"{file}: damaged, not valid {language} ({reason}); {explain_mend(file)}") from None


def _sync(path: Path) -> None:
    """Wait until a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
