"""Preprocessed columns: each raw value is decoded once, then rows are gathered at memory speed."""

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mmrun import code_version
from mmrun.data.array_files import (
    make_cache_folder,
    map_arrays,
    measure_partial,
    remove_damaged,
    write_arrays,
)
from mmrun.data.decode import build_blank, decode_chunks, stack_rows, try_decode
from mmrun.data.items import list_paths
from mmrun.data.progress import DecodingProgress, Listener, Silence
from mmrun.data.subfiles import stat_file
from mmrun.data.table import Column
from mmrun.data_types import Arrays
from mmrun.errors import DataError
from mmrun.processes import exclusive
from mmrun.types import Preprocessor

FORMAT = 2  # version of the files in the cache folder; enters their names
IN_MEMORY = 1 << 25  # bytes, decoded, up to which a column that is not read from files stays in memory
SUGGESTION = "replace it, or skip such rows with dataset.on_error=skip"


class MappedColumn:
    """A column that is decoded completely, in memory or mapped from files.

    Args:
        parts: [N, ...] by name, zeros where the modality is missing.
        present: [N] bool.
        bad: by row that cannot be decoded, "file:row: reason".
        name: hash of everything that determines the decoded bits.

    Attributes:
        notes: what the user should know about how the column was opened, a line each.
    """

    def __init__(self, parts: dict[str, Tensor], present: np.ndarray, bad: dict[int, str], name: str = "") -> None:
        self.notes: list[str] = []
        self.parts = parts
        self.name = name
        self.present = torch.from_numpy(present)
        self.bad = list(bad.values())
        self.bad_rows = np.array(list(bad), dtype=np.int64)

    def gather(self, rows: Tensor, pin: bool = False) -> dict[str, Tensor]:
        """Copy some rows.

        Args:
            rows: row numbers [B].
            pin: whether to copy into page-locked memory.

        Returns:
            [B, ...] by part.
        """
        gathered = {}
        for name, part in self.parts.items():
            shape = (len(rows), *part.shape[1:])
            gathered[name] = torch.empty(shape, dtype=part.dtype, pin_memory=pin)
            torch.index_select(part, 0, rows, out=gathered[name])
        return gathered


class LazyColumn:
    """A column that is too large to be stored: rows are decoded to the same bits by threads, whenever they are read.

    Args:
        column: raw values.
        preprocessor: decodes them.
        blank: arrays of a missing row.
        bad: by row that cannot be decoded, "file:row: reason".
        name: hash of everything that determines the decoded bits.

    Attributes:
        notes: what the user should know about how the column was opened, a line each.
    """

    def __init__(
        self, column: Column, preprocessor: Preprocessor, blank: Arrays, bad: dict[int, str], name: str
    ) -> None:
        self.notes: list[str] = []
        self._column, self._preprocessor, self._blank = column, preprocessor, blank
        self.name = name
        self.present = torch.from_numpy(_find_present(column, bad))
        self.bad = list(bad.values())
        self.bad_rows = np.array(list(bad), dtype=np.int64)
        self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")

    def gather(self, rows: Tensor, pin: bool = False) -> dict[str, Tensor]:
        """Decode some rows.

        Args:
            rows: row numbers [B].
            pin: whether to return page-locked memory.

        Returns:
            [B, ...] by part.

        Raises:
            DataError: a row that is not known to be bad cannot be decoded.
        """
        decoded = stack_rows(list(self._pool.map(self._decode, rows.tolist())), self._blank)
        parts = {name: torch.from_numpy(array) for name, array in decoded.items()}
        return {name: part.pin_memory() for name, part in parts.items()} if pin else parts

    def _decode(self, row: int) -> Arrays:
        if not self.present[row]:
            return self._blank
        decoded = try_decode(self._column, self._preprocessor, self._blank, row)
        if isinstance(decoded, str):
            raise DataError(f"{decoded}; {SUGGESTION}")
        return decoded


PreprocessedColumn = MappedColumn | LazyColumn


def open_column(
    column: Column,
    preprocessor: Preprocessor,
    key: str,
    cache_dir: Path,
    limit_bytes: int,
    on_error: str = "raise",
    listener: Listener | None = None,
) -> PreprocessedColumn:
    """Decode a column, or open it from the cache folder if it was decoded before.

    Of several processes that open the same column, one decodes it and the others wait. What a killed process has
    decoded is not decoded again.

    Args:
        column: raw values.
        preprocessor: fitted; its state enters the name of the cached column.
        key: names the data, fingerprint and modality; enters the name as well.
        cache_dir: folder of decoded columns.
        limit_bytes: a column that is larger when decoded, or does not fit on the disk, is not stored but decoded anew
            for every batch.
        on_error: raise | skip: whether a row that cannot be decoded raises, or becomes a missing one that is listed in
            `bad` and `bad_rows` and has to be left out by the caller.
        listener: is shown the progress.

    Raises:
        DataError: a row, or with on_error=skip every row, cannot be decoded.
        StorageError: the disk became full, or the cache was removed, while the column was written.
    """
    blank = build_blank(column, preprocessor)
    size = len(column.values) * sum(array.nbytes for array in blank.values())
    name = _compute_name(column, preprocessor, key)
    storage = choose_storage(size, column.from_files, limit_bytes)
    if storage == "memory":
        decoded = decode_rows(column, preprocessor, blank, name)
        _raise_if_bad(decoded.bad, on_error)
        return decoded
    folder, listener = cache_dir / name, listener or Silence()
    free = make_cache_folder(cache_dir)
    with exclusive(folder, lambda holder: listener.on_message(_describe_wait(column, holder))):
        notes = remove_damaged(folder)
        if not folder.is_dir():
            if storage == "nowhere" or size > free + measure_partial(folder):
                limit = f"beyond cache_limit, {limit_bytes:,}"
                reason = limit if storage == "nowhere" else f"{free:,} are free in {cache_dir}"
                notes.append(f"{column.kind}: {size:,} bytes decoded, {reason}: decoded anew for every batch")
                bad = {} if on_error == "raise" else _find_bad_rows(column, preprocessor, blank)
                lazy = LazyColumn(column, preprocessor, blank, bad, name)
                lazy.notes = notes
                return lazy
            notes += _decode_to_disk(column, preprocessor, blank, folder, on_error, listener)
    mapped = _open_folder(column, folder, on_error)
    mapped.notes = notes
    return mapped


def open_lazily(column: Column, preprocessor: Preprocessor) -> LazyColumn:
    """Open a column of which a few rows are read once.

    Args:
        column: raw values.
        preprocessor: fitted.

    Raises:
        DataError: no row can be decoded.
    """
    return LazyColumn(column, preprocessor, build_blank(column, preprocessor), {}, name="")


def decode_rows(column: Column, preprocessor: Preprocessor, blank: Arrays, name: str = "") -> MappedColumn:
    """Decode rows in memory; those that cannot be decoded are in `bad_rows`.

    Args:
        column: raw values, few enough to be held decoded.
        preprocessor: fitted.
        blank: arrays of a missing row, by part.
        name: of the returned column.
    """
    num_rows = len(column.values)
    parts = {part: np.zeros((num_rows, *array.shape), dtype=array.dtype) for part, array in blank.items()}
    bad: dict[int, str] = {}
    start = stop = 0
    for chunk, bad_rows in decode_chunks(column, preprocessor, blank):
        for part, array in chunk.items():
            stop = start + len(array)
            parts[part][start:stop] = array
        bad |= bad_rows
        start = stop
    tensors = {part: torch.from_numpy(array) for part, array in parts.items()}
    return MappedColumn(tensors, _find_present(column, bad), bad, name)


def open_blank(column: Column, preprocessor: Preprocessor, num_rows: int) -> PreprocessedColumn:
    """Return a column of zeros in the shapes of decoded rows, to try a model before anything is decoded.

    Args:
        column: raw values, of which one is decoded.
        preprocessor: fitted.
        num_rows: of the returned column; the modality is present in all.

    Raises:
        DataError: no row can be decoded.
    """
    parts = {}
    for name, array in build_blank(column, preprocessor).items():
        parts[name] = torch.zeros((num_rows, *array.shape), dtype=torch.from_numpy(array).dtype)
    return MappedColumn(parts, np.ones(num_rows, dtype=bool), {})


def choose_storage(size: int, from_files: bool, limit_bytes: int) -> Literal["memory", "disk", "nowhere"]:
    """Choose where a decoded column is stored.

    Args:
        size: bytes.
        from_files: whether raw values are read from files.
        limit_bytes: larger columns are stored nowhere.
    """
    if size > limit_bytes:
        return "nowhere"
    return "memory" if size <= IN_MEMORY and not from_files else "disk"


def _compute_name(column: Column, preprocessor: Preprocessor, key: str) -> str:
    """Hash what determines the decoded bits: data, code and libraries, and the sizes and times of the files."""
    kind = type(preprocessor)
    item_kind = type(getattr(preprocessor, "preprocessor", preprocessor))
    code = [*code_version.digest_code_of(item_kind, ("data",)), code_version.library_versions(code_version.DECODERS)]
    parts = [FORMAT, key, column.kind, kind.__name__, item_kind.__name__, preprocessor.state(), code]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for value in column.values if column.from_files else ():
        for path in list_paths(value):
            stat = stat_file(path)
            digest.update(b"%d %d\n" % (stat.size, stat.mtime_ns))
    return digest.hexdigest()[:32]


# ------------------------------------------------------------------------------------------------------------- decoding


def _find_bad_rows(column: Column, preprocessor: Preprocessor, blank: Arrays) -> dict[int, str]:
    all_bad: dict[int, str] = {}
    for _, bad in decode_chunks(column, preprocessor, blank):
        all_bad |= bad
    return all_bad


def _decode_to_disk(
    column: Column, preprocessor: Preprocessor, blank: Arrays, folder: Path, on_error: str, listener: Listener
) -> list[str]:
    """Decode the rows that an earlier process has not decoded; return what to report about it."""
    meta: dict[str, Any] = {"parts": list(blank), "bad": {}}
    num_rows = len(column.values)
    progress = DecodingProgress(column.kind, num_rows, listener)

    def decode(start: int) -> Iterator[Arrays]:
        progress.start(start)
        _raise_if_bad(meta["bad"].values(), on_error)
        for chunk, bad_rows in decode_chunks(column, preprocessor, blank, start):
            _raise_if_bad(bad_rows.values(), on_error)
            meta["bad"] |= {str(row): reason for row, reason in bad_rows.items()}
            yield chunk
            progress.advance(len(next(iter(chunk.values()))))

    write_arrays(folder, num_rows, blank, decode, meta)
    return progress.describe()


def _describe_wait(column: Column, holder: str) -> str:
    return f"{column.kind}: waits for {holder}, which decodes the same column"


def _raise_if_bad(bad: Collection[str], on_error: str) -> None:
    if bad and on_error == "raise":
        raise DataError(f"{next(iter(bad))}; {SUGGESTION}")


def _find_present(column: Column, bad: dict[int, str]) -> np.ndarray:
    present = column.is_present()
    present[list(bad)] = False
    return present


def _open_folder(column: Column, folder: Path, on_error: str) -> MappedColumn:
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    bad = {int(row): reason for row, reason in meta["bad"].items()}
    _raise_if_bad(bad.values(), on_error)
    return MappedColumn(map_arrays(folder, meta["parts"]), _find_present(column, bad), bad, folder.name)
