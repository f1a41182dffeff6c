"""Files that stand under their final name only when they are whole, and that blame themselves when they are not."""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mmrun.errors import DataError


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name, and rename it when every byte has reached the disk."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    write(unfinished)
    _sync(unfinished)
    os.replace(unfinished, file)
    _sync(file.parent)


def write_json(file: Path, value: Any) -> None:
    """Write JSON, on several lines."""
    text = json.dumps(plain(value), indent=1, allow_nan=False) + "\n"
    write_whole(file, lambda path: path.write_text(text, encoding="utf-8"))


def write_yaml(file: Path, value: Any) -> None:
    """Write YAML, keys in their order."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    write_whole(file, lambda path: path.write_text(text, encoding="utf-8"))


def read_json(file: Path) -> Any:
    """Read JSON."""
    return _read(file, json.loads, "JSON")


def read_yaml(file: Path) -> Any:
    """Read YAML."""
    return _read(file, yaml.safe_load, "YAML")


def plain(value: Any) -> Any:
    """Return a JSON value; a number that is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # a number or an array of NumPy's
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _read(file: Path, parse: Callable[[bytes], Any], language: str) -> Any:
    try:
        return parse(file.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; this is no run's folder, or the run did not get that far") from None
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).replace("\n", " ")
        raise DataError(
            f"{file}: damaged, not {language} ({reason}); remove the run's folder and train again"
        ) from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
