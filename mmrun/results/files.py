"""Files that are written whole or not at all, and read within limits. Errors name the file.

A run folder may come from someone else. So only regular files are opened, no more is read than a limit allows, and
YAML cannot refer to its own parts: a few lines of such references can stand for billions of values.
"""

import json
import math
import os
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from mmrun.digests import hash_bytes
from mmrun.errors import DamagedError, StorageError
from mmrun.results.shapes import find_mismatch

MAX_BYTES = 16 << 20  # of a JSON file; the metrics of 50,000 classes fit
MAX_YAML_BYTES = 1 << 20  # a config of 10,000 columns fits
MAX_DEPTH = 64  # of lists and mappings inside each other

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

JSON_DIGEST = re.compile(rb'\{\n "digest": "([0-9a-f]{32})",')
YAML_DIGEST = re.compile(rb"# digest: ([0-9a-f]{32})\n")

# What to do about a damaged file, by its name; {run} is its folder
MENDS = {
    "metrics.json": "remove it, then mmrun resume {run} writes it again",
    "status.json": "remove it, then mmrun resume {run} writes it again",
    "environment.json": "remove it",
    "fitted.json": "put it back, or remove it: then mmrun predict needs the training data",
    "data.npz": "put it back, or remove it: then rows that change can no longer be named",
    "compression.json": "put it back, or repeat mmrun compress: without it the weights do not fit",
    "notes.json": "remove it, then mmrun note {run} writes it again",
    "evaluation.json": "remove it, then mmrun eval {run} writes it again",
}


def write_atomically(file: Path, write: Callable[[Path], object], sync: bool = True) -> None:
    """Write a file under a temporary name, and rename it when every byte has reached the disk.

    Args:
        file: final path; its folder exists.
        write: writes the content to the path that it is given.
        sync: wait for the disk, which takes milliseconds; False: a power cut may leave the file empty.

    Raises:
        StorageError: the disk is full or cannot be written; the file is what it was before.
    """
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        unfinished.unlink(missing_ok=True)  # it could be a link to another file
        write(unfinished)
        if sync:
            _sync(unfinished)
        os.replace(unfinished, file)
        if sync:
            _sync(file.parent)
    except OSError as error:
        raise StorageError(f"{file}: cannot be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


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


def write_yaml(file: Path, value: object, sync: bool = True) -> None:
    """Write YAML with the keys in their order, and equal parts as often as they occur.

    A comment in the first line holds the digest of the others.

    Args:
        file: its path.
        value: mappings, lists, strings, numbers, booleans and None.
        sync: see `write_atomically`.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    text = yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)
    text = f"# digest: {hash_bytes(text.encode())}\n{text}"
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"), sync)


class _PlainDumper(_BaseDumper):  # type: ignore[misc]  # PyYAML has no types
    """Writes no references, since `read_yaml` accepts none."""

    def ignore_aliases(self, data: object) -> bool:
        return True


class _Loader(_BaseLoader):  # type: ignore[misc]  # PyYAML has no types
    """Reads plain values, and no numbers of base 60 (YAML's 1:30), which take quadratic time."""

    def construct_number(self, node: yaml.ScalarNode) -> object:
        if ":" in node.value:
            raise ValueError(f"line {node.start_mark.line + 1}: a number of base 60; quote it")
        is_integer = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_integer else self.construct_yaml_float(node)


for _tag in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.construct_number)


def read_json(file: Path, layout: Any = Any, max_bytes: int = MAX_BYTES) -> Any:
    """Read JSON, without its digest.

    Args:
        file: its path.
        layout: that the content must have, see `shapes.find_mismatch`.
        max_bytes: that the file may have.

    Raises:
        DamagedError: there is no such file, it is not what was written, is larger than `max_bytes`, or is deeper than
            MAX_DEPTH.
    """
    value = _read(file, _parse_json, "JSON", max_bytes)
    if isinstance(value, dict):
        value.pop("digest", None)
    check_layout(file, value, layout)
    return value


def read_yaml(file: Path, layout: Any = Any) -> Any:
    """Read YAML without references from one part to another.

    Args:
        file: its path.
        layout: that the content must have, see `shapes.find_mismatch`.

    Raises:
        DamagedError: there is no such file, it is not what was written, is larger than MAX_YAML_BYTES, or is deeper
            than MAX_DEPTH.
    """
    value = _read(file, _parse_yaml, "YAML", MAX_YAML_BYTES)
    check_layout(file, value, layout)
    return value


def check_layout(file: Path, value: object, layout: Any) -> None:
    """Check what was read from a file.

    Args:
        file: named by the error.
        value: its content.
        layout: that the content must have, see `shapes.find_mismatch`.

    Raises:
        DamagedError: the content has another layout.
    """
    problem = find_mismatch(value, layout)
    if problem is not None:
        raise DamagedError(f"{file}: damaged, {problem}; {explain_mend(file)}")


def explain_mend(file: Path) -> str:
    """Return what to do about a damaged file of a run.

    Args:
        file: in a run folder.
    """
    mend = MENDS.get(file.name, "remove the run folder and train again")
    return mend.format(file=file, run=file.parent)


def open_regular(file: Path) -> BinaryIO:
    """Open a file for reading, without waiting for a writer if it is a pipe.

    Returns:
        The open file, in binary mode.

    Raises:
        OSError: it cannot be opened, or is a folder, a device or a pipe.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return os.fdopen(descriptor, "rb")


def read_bytes(file: Path, limit: int) -> bytes:
    """Read a whole file.

    Args:
        file: its path.
        limit: bytes that it may have.

    Raises:
        OSError: it cannot be read, is larger, or is no regular file.
    """
    with open_regular(file) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise OSError(f"larger than {limit >> 20} MiB")
    return content


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


def _parse_json(content: bytes) -> object:
    """Parse JSON whose strings are text: half of a surrogate pair can be neither printed nor drawn."""
    value = json.loads(content)
    if rb"\u" in content:
        json.dumps(value, ensure_ascii=False).encode()  # a UnicodeEncodeError is a ValueError
    return value


def _parse_yaml(content: bytes) -> object:
    """Parse YAML that a stranger may have written; a ValueError says what is refused."""
    depth = 0
    for event in yaml.parse(content, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} refers to another part: *{event.anchor}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")
    return yaml.load(content, Loader=_Loader)


def _check_depth(value: object, depth: int = 0) -> None:
    """Raise a ValueError if lists and mappings lie too deep inside each other."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list):
                _check_depth(item, depth + 1)


def _check_digest(file: Path, content: bytes) -> None:
    """Raise an error where the first line holds another digest than the rest has; files of version 0.1.0 have none."""
    for digest, start in ((JSON_DIGEST, b"{"), (YAML_DIGEST, b"")):
        match = digest.match(content)
        if match is not None and hash_bytes(start + content[match.end() :]) != match[1].decode():
            raise DamagedError(
                f"{file}: damaged, its bytes changed after they were written; {explain_mend(file)} "
                "(if you edited it on purpose, remove its line with the digest)"
            )


def _read(file: Path, parse: Callable[[bytes], object], language: str, limit: int) -> Any:
    """Read and parse a file; errors name it and say what to do."""
    try:
        content = read_bytes(file, limit)
    except FileNotFoundError:
        raise DamagedError(f"{file}: no such file; this is not a run folder, or the run did not get that far") from None
    except OSError as error:
        raise DamagedError(f"{file}: cannot be read ({error.strerror or error}); {explain_mend(file)}") from None
    _check_digest(file, content)
    try:
        value = parse(content)
        _check_depth(value)
    except RecursionError:
        raise DamagedError(
            f"{file}: damaged, not valid {language} (more than {MAX_DEPTH} levels); {explain_mend(file)}"
        ) from None
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).replace("\n", " ")
        raise DamagedError(f"{file}: damaged, not valid {language} ({reason}); {explain_mend(file)}") from None
    return value


def _sync(path: Path) -> None:
    """Wait until a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
