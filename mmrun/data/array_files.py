"""Folders of arrays in the cache: written whole or not at all, mapped into memory, made anew where they are damaged."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from mmrun import digests, processes
from mmrun.errors import DamagedError, StorageError

Arrays = dict[str, np.ndarray]  # parts of a row by name, as a preprocessor returns them; or of several rows


def write_arrays(
    folder: Path, num_rows: int, blank: Arrays, chunks: Iterable[Arrays], meta: Mapping[str, object]
) -> None:
    """Write arrays [N, ...] and their digests into a folder that appears only when it is complete.

    They are written under a temporary name, which is then renamed. Of several processes the first one wins.

    Args:
        folder: to create; its parent exists.
        num_rows: N.
        blank: has the names, types and shapes of one row.
        chunks: consecutive rows, [n, ...] by part; may be computed while they are written.
        meta: written to meta.json after the last chunk, and may be completed until then.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    partial_folder: Path | None = None
    try:
        partial_folder = processes.make_temporary_folder(folder)
        with ExitStack() as stack:
            files = {name: stack.enter_context(open(partial_folder / _file_name(name), "wb")) for name in blank}
            _write_npy(files, num_rows, blank, chunks)
        with open(partial_folder / "meta.json", "w", encoding="utf-8") as file:
            json.dump(meta, file)
            _sync(file)
        digests.write_digests(partial_folder)
        try:
            partial_folder.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first, with the same bits
                raise
    except OSError as error:
        raise StorageError(
            f"{folder.parent}: cannot be written ({error.strerror}); free room, or set cache=FOLDER"
        ) from None
    finally:
        if partial_folder is not None:
            shutil.rmtree(partial_folder, ignore_errors=True)


def map_arrays(folder: Path, parts: Iterable[str]) -> dict[str, Tensor]:
    """Map the arrays of a folder that `write_arrays` wrote into memory, without reading them.

    Args:
        folder: that was written.
        parts: names of the arrays.

    Returns:
        [N, ...] by part.

    Raises:
        StorageError: the folder was removed since it was checked.
    """
    try:
        return {part: torch.from_numpy(np.load(folder / _file_name(part), mmap_mode="c")) for part in parts}
    except OSError as error:
        raise StorageError(f"{folder}: cannot be read ({error.strerror}); was the cache removed? Start again") from None


def remove_damaged(folder: Path) -> list[str]:
    """Remove a folder that `write_arrays` wrote if its files are not what was written, so that it is written anew.

    Args:
        folder: that may not exist. Its files are hashed once per process.

    Returns:
        A line that reports the damage; none if there is nothing to report.

    Raises:
        DamagedError: the folder is damaged, and cannot be removed because it is read-only.
    """
    if not folder.is_dir():
        return []
    try:
        digests.verify_folder(folder, once=True)
    except DamagedError as error:
        removed = folder.with_name(f"{folder.name}.{os.getpid()}{processes.PARTIAL}")
        try:
            folder.rename(removed)
        except FileNotFoundError:  # another process was first
            return []
        except OSError as reason:
            raise DamagedError(f"{error}; it cannot be removed ({reason.strerror}), set cache=FOLDER") from None
        shutil.rmtree(removed, ignore_errors=True)
        return [f"{error}; it is made anew"]
    return []


def make_cache_folder(folder: Path) -> int:
    """Make a folder of the cache, and remove what killed processes left half written in it.

    Args:
        folder: that may exist, and may be read-only.

    Returns:
        The bytes that can be written there; 0 where nothing can.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return 0
    if not os.access(folder, os.W_OK):
        return 0
    processes.remove_abandoned(folder)
    return shutil.disk_usage(folder).free


def _write_npy(files: Mapping[str, IO[bytes]], num_rows: int, blank: Arrays, chunks: Iterable[Arrays]) -> None:
    for name, array in blank.items():
        header = {"descr": array.dtype.str, "fortran_order": False, "shape": (num_rows, *array.shape)}
        np.lib.format.write_array_header_1_0(files[name], header)
    for chunk in chunks:
        for name, file in files.items():
            file.write(np.ascontiguousarray(chunk[name], dtype=blank[name].dtype).data)
    for file in files.values():
        _sync(file)


def _file_name(part: str) -> str:
    return f"{part or 'value'}.npy"


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
