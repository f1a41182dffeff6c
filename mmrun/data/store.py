"""Prepared columns: each raw value decoded once, then gathered by row at memory speed."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from mmrun.data.table import Column
from mmrun.errors import DataError, RunError
from mmrun.types import Preprocessor

FORMAT = 1  # of the files under the cache folder; counts in their names
CHUNK = 64  # rows decoded between two writes
IN_MEMORY = 1 << 25  # bytes decoded of a column that is not read from files; what is larger is mapped from the cache
DAY = 86400  # seconds
MEND = "replace it, or leave such rows out with dataset.on_error=skip"
Arrays = dict[str, np.ndarray]


class MappedColumn:
    """A column that was decoded as a whole, in memory or mapped from files: parts [N, ...], zeros where missing."""

    def __init__(self, parts: dict[str, Tensor], present: np.ndarray, bad: dict[int, str], name: str = "") -> None:
        self.parts = parts
        self.name = name  # a hash of all that decides the decoded bits
        self.present = torch.from_numpy(present)  # [N] bool
        self.bad = list(bad.values())  # "file:row: reason" of each row that cannot be decoded
        self.bad_rows = np.array(list(bad), dtype=np.int64)

    def gather(self, rows: Tensor, pin: bool = False) -> dict[str, Tensor]:
        """Copy the given rows together, into page-locked memory where asked."""
        gathered = {}
        for name, part in self.parts.items():
            shape = (len(rows), *part.shape[1:])
            gathered[name] = torch.empty(shape, dtype=part.dtype, pin_memory=pin)
            torch.index_select(part, 0, rows, out=gathered[name])
        return gathered


class LazyColumn:
    """A column too large to be kept: the same bits, decoded by threads each time they are asked for."""

    def __init__(
        self, column: Column, preprocessor: Preprocessor, blank: Arrays, bad: dict[int, str], name: str
    ) -> None:
        self._column, self._preprocessor, self._blank = column, preprocessor, blank
        self.name = name
        self.present = torch.from_numpy(_present(column, bad))
        self.bad = list(bad.values())
        self.bad_rows = np.array(list(bad), dtype=np.int64)
        self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")

    def gather(self, rows: Tensor, pin: bool = False) -> dict[str, Tensor]:
        """Decode the given rows, into page-locked memory where asked."""
        decoded = list(self._pool.map(self._decode, rows.tolist()))
        parts = {name: torch.from_numpy(np.stack([arrays[name] for arrays in decoded])) for name in self._blank}
        return {name: part.pin_memory() for name, part in parts.items()} if pin else parts

    def _decode(self, row: int) -> Arrays:
        if not self.present[row]:
            return self._blank
        decoded = _attempt(self._column, self._preprocessor, self._blank, row)
        if isinstance(decoded, str):
            raise DataError(f"{decoded}; {MEND}")
        return decoded


PreprocessedColumn = MappedColumn | LazyColumn


def open_column(
    column: Column, preprocessor: Preprocessor, key: str, cache_dir: Path, limit_bytes: int, on_error: str = "raise"
) -> PreprocessedColumn:
    """Decode a column, or find it decoded: into the cache folder; into memory what is small and not read from files.

    `key` names the data (fingerprint and modality); with the preprocessor's state it names the cached column. A column
    beyond `limit_bytes`, or beyond the room on the disk, is not kept but decoded anew for each batch. A row that cannot
    be decoded raises; under on_error="skip" it is missing here and listed in `bad` and `bad_rows`: leave it out.
    """
    blank = _blank(column, preprocessor)
    size = len(column.values) * sum(array.nbytes for array in blank.values())
    name = _name(column, preprocessor, key)
    kept = where_kept(size, column.from_files, limit_bytes)
    if kept == "memory":
        return _in_memory(column, preprocessor, blank, name, on_error)
    cache_dir.mkdir(parents=True, exist_ok=True)
    folder = cache_dir / name
    if not folder.is_dir():
        if kept == "nowhere" or size > shutil.disk_usage(cache_dir).free:
            bad = {} if on_error == "raise" else _find_bad(column, preprocessor, blank)
            return LazyColumn(column, preprocessor, blank, bad, name)
        _write(column, preprocessor, blank, folder, on_error)
    return _mapped(column, folder, on_error)


def where_kept(size: int, from_files: bool, limit_bytes: int) -> str:
    """Return where a column of so many bytes is kept: in memory, on disk, or nowhere."""
    if size > limit_bytes:
        return "nowhere"
    return "memory" if size <= IN_MEMORY and not from_files else "disk"


def _name(column: Column, preprocessor: Preprocessor, key: str) -> str:
    """Hash what decides the decoded bits; sizes and times too, so that a file that was replaced is decoded anew."""
    says = [FORMAT, key, column.kind, type(preprocessor).__name__, preprocessor.state()]
    digest = hashlib.sha256(json.dumps(says, sort_keys=True).encode())
    for value in column.values if column.from_files else ():
        if isinstance(value, Path):
            stat = os.stat(value)
            digest.update(b"%d %d\n" % (stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()[:32]


def _blank(column: Column, preprocessor: Preprocessor) -> Arrays:
    """Return the arrays of a missing row: zeros, in the shapes of the first row that can be decoded."""
    for value in column.values:
        try:
            if value is not None:
                return {name: np.zeros_like(array) for name, array in preprocessor.decode(value).items()}
        except DataError:
            continue  # reported when all rows are decoded
    where = "" if column.where is None else f"{column.where[0]} and on: "
    raise DataError(
        f"{where}no row has a readable {column.kind}; mend the column, or leave it out with modalities=[...]"
    )


def _attempt(column: Column, preprocessor: Preprocessor, blank: Arrays, row: int) -> Arrays | str:
    """Decode one row, or say where and why that cannot be done."""
    value = column.values[row]
    try:
        return blank if value is None else preprocessor.decode(value)
    except DataError as error:
        return f"{column.place(row)}: {error}"


def _in_memory(column: Column, preprocessor: Preprocessor, blank: Arrays, name: str, on_error: str) -> MappedColumn:
    parts = {part: np.zeros((len(column.values), *a.shape), dtype=a.dtype) for part, a in blank.items()}
    bad: dict[int, str] = {}
    for row in range(len(column.values)):
        decoded = _attempt(column, preprocessor, blank, row)
        if isinstance(decoded, str):
            bad[row] = decoded
        else:
            for part, array in decoded.items():
                parts[part][row] = array
    _refuse(bad, on_error)
    tensors = {part: torch.from_numpy(array) for part, array in parts.items()}
    return MappedColumn(tensors, _present(column, bad), bad, name)


def _chunks(column: Column, preprocessor: Preprocessor, blank: Arrays) -> Iterator[tuple[list[Arrays], dict[int, str]]]:
    """Decode all rows in order, files by threads; give each chunk's arrays, and its bad rows with the reasons."""
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as pool:
        each = pool.map if column.from_files else map
        for start in range(0, len(column.values), CHUNK):
            rows = range(start, min(start + CHUNK, len(column.values)))
            results = list(each(partial(_attempt, column, preprocessor, blank), rows))
            bad = {row: result for row, result in zip(rows, results, strict=True) if isinstance(result, str)}
            yield [blank if isinstance(result, str) else result for result in results], bad


def _find_bad(column: Column, preprocessor: Preprocessor, blank: Arrays) -> dict[int, str]:
    return {row: reason for _, bad in _chunks(column, preprocessor, blank) for row, reason in bad.items()}


def _write(column: Column, preprocessor: Preprocessor, blank: Arrays, folder: Path, on_error: str) -> None:
    """Decode into a folder."""
    bad: dict[int, str] = {}

    def decoded() -> Iterator[list[Arrays]]:
        for chunk, found in _chunks(column, preprocessor, blank):
            _refuse(found, on_error)
            bad.update(found)
            yield chunk

    keep(folder, len(column.values), blank, decoded(), {"parts": list(blank), "bad": bad})


def keep(folder: Path, num_rows: int, blank: Arrays, chunks: Iterable[list[Arrays]], meta: dict[str, Any]) -> None:
    """Write arrays under a temporary name, then rename: the first wins, and half a folder is never read.

    `blank` has the shapes of one row, the arrays of a chunk follow each other; `meta` is read when all are written.
    """
    for stale in folder.parent.glob(f"{folder.name}.*.partial"):  # what a killed run left behind
        if time.time() - stale.stat().st_mtime > DAY:
            shutil.rmtree(stale, ignore_errors=True)
    half = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        with ExitStack() as stack:
            files = {name: stack.enter_context(open(half / _file(name), "wb")) for name in blank}
            for name, array in blank.items():
                shape = (num_rows, *array.shape)
                header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(files[name], header)
            for chunk in chunks:
                for name, file in files.items():
                    file.writelines(arrays[name].tobytes() for arrays in chunk)
            for file in files.values():
                _sync(file)
        with open(half / "meta.json", "w", encoding="utf-8") as about:
            json.dump(meta, about)
            _sync(about)
        try:
            half.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first, with the same bits
                raise
    except OSError as error:
        raise RunError(
            f"{folder.parent}: cannot be written ({error.strerror}); free room, or set cache=FOLDER"
        ) from None
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _mapped(column: Column, folder: Path, on_error: str) -> MappedColumn:
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    bad = {int(row): reason for row, reason in meta["bad"].items()}
    _refuse(bad, on_error)
    return MappedColumn(mapped(folder, meta["parts"]), _present(column, bad), bad, folder.name)


def mapped(folder: Path, parts: Iterable[str]) -> dict[str, Tensor]:
    """Open the arrays of a folder that `keep` wrote, without reading them."""
    return {part: torch.from_numpy(np.load(folder / _file(part), mmap_mode="c")) for part in parts}


def _refuse(bad: dict[int, str], on_error: str) -> None:
    if bad and on_error == "raise":
        raise DataError(f"{next(iter(bad.values()))}; {MEND}")


def _present(column: Column, bad: dict[int, str]) -> np.ndarray:
    present = column.present()
    present[list(bad)] = False
    return present


def _file(part: str) -> str:
    return f"{part or 'value'}.npy"


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
