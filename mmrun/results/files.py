"""Files that are written whole or not at all, and whose errors name the file."""

import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from mmrun.errors import DataError, StorageError


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
    """Write JSON, indented.

    Args:
        file: its path.
        value: see `to_json_value`.
    """
    text = json.dumps(to_json_value(value), indent=1, allow_nan=False) + "\n"
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))


def write_yaml(file: Path, value: object) -> None:
    """Write YAML with the keys in their order.

    Args:
        file: its path.
        value: mappings, lists, strings, numbers, booleans and None.
    """
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))


def read_json(file: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    return _read(file, json.loads, "JSON")


def read_yaml(file: Path) -> Any:
    """Read YAML.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    return _read(file, yaml.safe_load, "YAML")


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


def _read(file: Path, parse: Callable[[bytes], object], language: str) -> Any:
    """Read and parse a file; errors name it and say what to do."""
    try:
        return parse(file.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; this is not a run folder, or the run did not get that far") from None
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).replace("\n", " ")
        raise DataError(
            f"{file}: damaged, not valid {language} ({reason}); remove the run folder and train again"
        ) from None


def _sync(path: Path) -> None:
    """Wait until a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
