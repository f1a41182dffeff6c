"""The data that a process opened last, for its next run if that reads the same in the same way."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmrun import plugins
from mmrun.config import Node, RunConfig
from mmrun.data.file_digests import MAX_STAMPS, read_stamp
from mmrun.data.row_digests import DataRecord
from mmrun.data.store import PreprocessedColumn
from mmrun.results.folder import RunFolder
from mmrun.run.data import Data, identify_data
from mmrun.run.data_identity import records_other_data


class OpenedData(NamedTuple):
    """A data set, opened and decoded.

    Attributes:
        data: its raw columns are freed.
        columns: decoded, by modality.
        record: digests of what the data set held.
    """

    data: Data
    columns: dict[str, PreprocessedColumn]
    record: DataRecord


class LastData:
    """Keeps the data that were opened last, until others are asked for or a file changes."""

    def __init__(self) -> None:
        self._opened: OpenedData | None = None
        self._key = ""
        self._stamps: dict[str, str] = {}  # by path of a file

    def find(self, config: RunConfig, folder: RunFolder) -> OpenedData | None:
        """Return the data of a run if they are those that were opened last; else forget these, and prepare to keep its.

        Args:
            config: of the run.
            folder: of the run; if it was started with other data, their raw cells are needed to say what changed.
        """
        key = identify_data(config)
        is_same = key == self._key and all(read_stamp(path) == stamp for path, stamp in self._stamps.items())
        if self._opened is None or not is_same or records_other_data(folder, self._opened.data.table):
            self._opened, self._key = None, key
            self._stamps = {path: read_stamp(path) for path in _list_paths(config)}
        return self._opened

    def keep(self, config: RunConfig, opened: OpenedData) -> None:
        """Keep data for the next run, if a change of their files would be noticed.

        Args:
            config: that `find` was asked about before the data were opened.
            opened: from this config.
        """
        path, files = config.dataset.get("path"), opened.data.files
        is_whole = path is None or Path(path).expanduser().is_file()  # to folders and shards, files may be added
        is_ours = not any(plugins.is_allowed(node["_target_"]) for node in _list_nodes(config))
        if is_whole and is_ours and len(files.stamps) <= MAX_STAMPS:
            self._stamps |= files.stamps
            self._opened = opened


def _list_nodes(config: RunConfig) -> list[Node]:
    """Return what data are opened with."""
    return [config.dataset, *(encoder["preprocess"] for encoder in config.encoder.values())]


def _list_paths(config: RunConfig) -> Iterator[str]:
    """Yield the files and folders that a config names."""
    for node in _list_nodes(config):
        for value in node.values():
            if isinstance(value, str) and os.path.exists(os.path.expanduser(value)):
                yield os.path.expanduser(value)
