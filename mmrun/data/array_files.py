"""Folders of arrays in the cache: written whole or not at all, mapped into memory, made anew where they are damaged."""

import io
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from mmrun import digests, processes
from mmrun.data_types import Arrays
from mmrun.errors import DamagedError, StorageError

PROGRESS = "progress.json"  # of arrays that are being written
SAVE_SECONDS = 5.0  # between two times at which what is written is made safe
BLOCK_SIZE = 1 << 22  # bytes read at a time


def write_arrays(
    folder: Path,
    num_rows: int,
    blank: Arrays,
    read_chunks: Callable[[int], Iterable[Arrays]],
    meta: dict[str, Any],
) -> None:
    """Write arrays [N, ...] and their digests into a folder that appears only when it is complete.

    They are written into `<folder>.partial`, which is then renamed. What another process wrote there before it was
    killed is not written again. The caller holds `processes.exclusive(folder)`.

    Args:
        folder: to create; its parent exists.
        num_rows: N.
        blank: has the names, types and shapes of one row.
        read_chunks: given the number of rows that are already written, returns the chunks after them: consecutive rows,
            [n, ...] by part; may compute them while they are written.
        meta: written to meta.json after the last chunk, and may be completed until then; updated with what an earlier
            process had completed.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    partial_folder = folder.with_name(f"{folder.name}{processes.PARTIAL}")
    writer: ArrayWriter | None = None
    try:
        partial_folder.mkdir(exist_ok=True)
        with ExitStack() as stack:
            writer = ArrayWriter(partial_folder, num_rows, blank, meta, stack)
            try:
                for chunk in read_chunks(writer.num_written):
                    writer.append(chunk)
            finally:  # also where a row cannot be decoded, or the user interrupts
                writer.save_progress()
        _complete(partial_folder, folder, meta)
    except OSError as error:
        shutil.rmtree(partial_folder, ignore_errors=True)
        raise StorageError(
            f"{folder.parent}: cannot be written ({error.strerror}); free room, or set cache=FOLDER"
        ) from None
    except BaseException:
        if writer is None or not writer.num_written:
            shutil.rmtree(partial_folder, ignore_errors=True)
        raise


def _complete(partial_folder: Path, folder: Path, meta: dict[str, Any]) -> None:
    """Write what is known once all rows are written, and give the folder its name."""
    (partial_folder / PROGRESS).unlink()
    _write_json(partial_folder / "meta.json", meta)
    digests.write_digests(partial_folder)
    try:
        partial_folder.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was first, with the same bits
            raise
        shutil.rmtree(partial_folder, ignore_errors=True)


class ArrayWriter:
    """Appends rows to .npy files, and goes on where a killed process stopped.

    Every few seconds the files are synced; progress.json then names how many rows they hold and the CRC-32 of these.
    Of files that hold something else, nothing is trusted.

    Args:
        folder: that exists.
        num_rows: of the complete arrays.
        blank: has the names, types and shapes of one row.
        meta: saved with the progress, and updated with what was saved.
        stack: closes the files.

    Attributes:
        num_written: rows that need not be written again.
    """

    def __init__(self, folder: Path, num_rows: int, blank: Arrays, meta: dict[str, Any], stack: ExitStack) -> None:
        self.folder, self.blank, self.meta = folder, blank, meta
        self.num_written = 0
        self._headers = {name: _build_header(num_rows, array) for name, array in blank.items()}
        self._crcs = {name: zlib.crc32(header) for name, header in self._headers.items()}
        self._restore_progress()
        self._files: dict[str, IO[bytes]] = {}
        for name in blank:
            mode = "r+b" if self.num_written else "w+b"
            file = stack.enter_context(open(folder / _file_name(name), mode))  # noqa: SIM115 - the stack closes it
            self._files[name] = file
            if not self.num_written:
                file.write(self._headers[name])
            file.truncate(self._size(name, self.num_written))
            file.seek(0, os.SEEK_END)
        self._saved_at = time.monotonic()

    def append(self, chunk: Arrays) -> None:
        """Write some rows after those that are written.

        Args:
            chunk: [n, ...] by part.
        """
        crcs = {}
        for name, file in self._files.items():
            content = np.ascontiguousarray(chunk[name], dtype=self.blank[name].dtype).data
            file.write(content)
            crcs[name] = zlib.crc32(content, self._crcs[name])
        self.num_written, self._crcs = self.num_written + len(chunk[name]), crcs
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save_progress()

    def save_progress(self) -> None:
        """Sync the files, then store how many rows they hold."""
        for file in self._files.values():
            _sync(file)
        progress = {"rows": self.num_written, "crcs": self._crcs, "meta": self.meta}
        _write_json(self.folder / f"{PROGRESS}.new", progress)
        (self.folder / f"{PROGRESS}.new").replace(self.folder / PROGRESS)
        self._saved_at = time.monotonic()

    def _restore_progress(self) -> None:
        try:
            progress = json.loads((self.folder / PROGRESS).read_text("utf-8"))
            num_written, crcs, meta = int(progress["rows"]), dict(progress["crcs"]), dict(progress["meta"])
            for name in self.blank:
                if _compute_crc(self.folder / _file_name(name), self._size(name, num_written)) != crcs[name]:
                    return
        except (OSError, ValueError, KeyError, TypeError):
            return
        self.num_written, self._crcs = num_written, crcs
        self.meta.update(meta)

    def _size(self, name: str, num_rows: int) -> int:  # bytes
        return len(self._headers[name]) + num_rows * self.blank[name].nbytes


def measure_partial(folder: Path) -> int:
    """Return the bytes of a folder that `write_arrays` has begun and that a later call will continue.

    Args:
        folder: that it would become.
    """
    files = folder.with_name(f"{folder.name}{processes.PARTIAL}").glob("*")
    return sum(file.stat().st_size for file in files)


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


def _build_header(num_rows: int, blank: np.ndarray) -> bytes:
    stream = io.BytesIO()
    header = {"descr": blank.dtype.str, "fortran_order": False, "shape": (num_rows, *blank.shape)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def _compute_crc(file: Path, size: int) -> int | None:
    """Return the CRC-32 of the first bytes of a file; None if it has fewer."""
    crc = 0
    with open(file, "rb") as stream:
        for start in range(0, size, BLOCK_SIZE):
            block = stream.read(min(BLOCK_SIZE, size - start))
            crc = zlib.crc32(block, crc)
        return crc if stream.tell() == size else None


def _write_json(path: Path, value: object) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)
        _sync(file)


def _file_name(part: str) -> str:
    return f"{part or 'value'}.npy"


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
