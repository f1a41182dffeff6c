"""Resolves the names of files in cells: pictures, sounds, texts and series."""

import os
from collections.abc import Collection
from hashlib import blake2b
from pathlib import Path
from stat import S_ISREG

import numpy as np

from mmrun.data import limits
from mmrun.data.cell_files import CellFiles
from mmrun.data.file_digests import DIGEST_SIZE, FileDigests
from mmrun.data.frames import is_frame, list_files, list_frames
from mmrun.data.items import FrameList, ItemList, may_be_several, split_items
from mmrun.data.preprocess.series_files import read_numbers
from mmrun.data.preprocess.wfdb_records import list_signal_files
from mmrun.data.sheets.numbers import is_missing_mark, parse_series
from mmrun.data.subfiles import name_file, parse_subfile, stat_file
from mmrun.data.unreadable import describe_unreadable, find_missing_library, find_unreadable
from mmrun.errors import DataError
from mmrun.installation import format_pip_command

DOCUMENTS = (".pdf", ".docx", ".doc", ".odt", ".rtf")
SERIES_SUFFIXES = (".npy", ".csv", ".tsv", ".edf", ".bdf", ".hea")  # text files are resolved as texts


class FileResolver:
    """Resolves the file names in cells, and remembers the sizes of the files.

    Args:
        root: the folder that relative names start from.
        allow_outside: whether a name may lead out of it.
        root_option: what sets the root, for errors.
        cache: folder in which pictures and sounds that lie in cells are stored; None: a temporary one.

    Attributes:
        sizes: bytes, by path relative to the root.
    """

    def __init__(
        self,
        root: Path,
        allow_outside: bool,
        root_option: str = "dataset.root=FOLDER",
        cache: Path | None = None,
    ) -> None:
        self._root_option = root_option
        self._shown_root = "the working folder" if root == Path() else str(root)
        self._cell_files = CellFiles(cache)
        self._root, self._allow_outside = os.path.abspath(root), allow_outside
        self._real_root = os.path.realpath(root)
        self._is_folder_inside: dict[str, bool] = {}  # by path, links resolved
        self.sizes: dict[str, int] = {}

    def resolve(self, cell: object) -> Path:
        """Return the path of a file.

        Raises:
            DataError: the file does not exist, is empty, or lies outside the root, if only by a symbolic link.
        """
        if isinstance(cell, bytes):
            return self._cell_files.store(cell)
        path = self._locate(cell)
        try:
            stat = stat_file(path)
        except (OSError, ValueError):
            mend = f"correct the name, or set {self._root_option}"
            if os.path.exists(path.replace("\\", "/")):
                mend = "write / instead of \\"
            raise DataError(f"'{cell}' does not exist; {mend}") from None
        if not S_ISREG(stat.mode) or stat.size == 0:
            raise DataError(f"'{name_file(Path(str(cell)))}' is empty or not a file; replace it")
        unreadable = find_unreadable(path)
        if unreadable is not None:
            raise DataError(f"'{cell}' is {describe_unreadable(unreadable)}")
        library = find_missing_library(path)
        if library is not None:
            raise DataError(f"'{cell}' is read by {library}; install it with {format_pip_command('install', library)}")
        if stat.size > limits.MAX_FILE_BYTES:
            raise DataError(f"'{cell}' has {stat.size:,} bytes; more than 2 GiB are refused, so split it")
        self.sizes[os.path.relpath(path, self._root).replace(os.sep, "/")] = stat.size
        return Path(path)

    def _locate(self, cell: object) -> str:
        """Return the path of a file or folder, which need not exist, if it lies in the root."""
        if not isinstance(cell, str) or not _can_be_path(cell):
            raise DataError(f"{cell!r} is not a file name; give a path below {self._shown_root}")
        path = os.path.normpath(os.path.join(self._root, cell))
        is_inside = path.startswith(self._root.rstrip(os.sep) + os.sep)
        if not (is_inside or self._allow_outside):
            raise DataError(
                f"'{cell}' lies outside {self._shown_root}; set {self._root_option} or dataset.allow_outside=true"
            )
        if not (self._allow_outside or self._is_really_inside(path)):
            raise DataError(
                f"'{cell}' is a link out of {self._shown_root}; copy the file, or set dataset.allow_outside=true"
            )
        return path

    def parse_files(self, cell: object) -> Path | ItemList | None:
        """Return the file that a cell names, or its several files: `a.png|b.png`, or a list; None for NA and the like.

        Raises:
            DataError: as for `resolve`; or the cell names too many files.
        """
        if is_missing_mark(cell) and not self._exists(str(cell)):
            return None
        if isinstance(cell, str) and (not may_be_several(cell) or self._exists(cell)):
            return self.resolve(cell)  # whatever separator its name contains
        items = split_items(cell)
        if len(items) > limits.MAX_ITEMS:
            raise DataError(f"names {len(items):,} files; at most {limits.MAX_ITEMS} in a cell are read")
        return self.resolve(items[0]) if len(items) == 1 else ItemList(map(self.resolve, items))

    def parse_video(self, cell: object) -> Path | FrameList | None:
        """Return the video that a cell names: a file, a folder of frames, or the files of several frames.

        Raises:
            DataError: as for `resolve`; or a folder holds no image, or the cell names several videos.
        """
        if is_missing_mark(cell) and not self._exists(str(cell)):
            return None
        if isinstance(cell, str) and os.path.isdir(folder := self._locate(cell)):
            return FrameList(self.resolve(os.path.join(cell, name)) for name in list_frames(folder))
        if isinstance(cell, bytes) or (isinstance(cell, str) and self._exists(cell)):
            return self.resolve(cell)
        names = split_items(cell)
        if len(names) == 1:
            return self.resolve(names[0])
        videos = [name for name in names if not is_frame(str(name))]
        if videos:
            raise DataError(f"names '{videos[0]}' beside other files; a cell holds one video, or names all its frames")
        if len(names) > limits.MAX_FRAME_FILES:
            raise DataError(f"names {len(names):,} frames; at most {limits.MAX_FRAME_FILES:,} are read")
        return FrameList(map(self.resolve, names))

    def _exists(self, cell: str) -> bool:
        return os.path.exists(os.path.join(self._root, cell))

    def is_folder(self, cell: object) -> bool:
        """Return whether a cell names a folder in the root."""
        return isinstance(cell, str) and os.path.isdir(self._locate(cell))

    def is_file(self, cell: str) -> bool:
        """Return whether a name is that of a file in the root."""
        return os.path.isfile(os.path.join(self._root, cell)) and os.path.isfile(self._locate(cell))

    def list_folder(self, cell: str, suffixes: Collection[str], limit: int) -> list[str]:
        """Return the names of the files in a folder, in the order of the numbers in them.

        Args:
            cell: names the folder.
            suffixes: of the files, in lower case.
            limit: most files that are read.

        Raises:
            DataError: it is no folder in the root, or holds more files.
        """
        folder = self._locate(cell)
        if not os.path.isdir(folder):
            raise DataError(f"'{cell}' is not a folder; name the one that holds the files of the stream")
        return list_files(folder, suffixes, limit, "files")

    def _resolve_series(self, cell: str) -> Path:
        """Return the path of a series, and resolve the files that the header of a WFDB record names."""
        path = self.resolve(cell)
        if path.suffix.lower() == ".hea":
            for name in list_signal_files(path):
                self.resolve(os.path.join(os.path.dirname(cell), name))
        return path

    def _is_really_inside(self, path: str) -> bool:
        """Return whether a path, which need not exist, stays inside the root when symbolic links are resolved."""
        subfile = parse_subfile(path)
        path = path if subfile is None else subfile.archive
        folder = os.path.dirname(path)
        if folder not in self._is_folder_inside:
            self._is_folder_inside[folder] = self._is_in_real_root(folder)
        return self._is_folder_inside[folder] and (not os.path.islink(path) or self._is_in_real_root(path))

    def _is_in_real_root(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._real_root or real.startswith(self._real_root.rstrip(os.sep) + os.sep)

    def digest_contents(self, digests: FileDigests) -> str:
        """Return a digest of the names and the contents of all files that were resolved.

        Args:
            digests: of single files.
        """
        names = sorted(self.sizes)
        contents = digests.digest(os.path.normpath(os.path.join(self._root, name)) for name in names)
        whole = blake2b(digest_size=DIGEST_SIZE)
        for name, content in zip(names, contents, strict=True):
            whole.update(f"{name}\n{content}\n".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def parse_text(self, cell: object) -> str | Path:
        """Return the text itself, or the path of the .txt file that the cell names.

        Raises:
            DataError: the cell is a list or an object.
        """
        if isinstance(cell, list | dict | bytes):
            raise DataError(f"is a {type(cell).__name__}, not text; write a string")
        text = str(cell)
        has_suffix = text[-5:].lower().endswith((".txt", *DOCUMENTS))  # not of the whole, which may be long
        if has_suffix and os.path.isfile(os.path.join(self._root, text)):
            return self.resolve(text)  # of a document, an error says that it is not read
        return text

    def parse_series(self, cell: object) -> np.ndarray | Path:
        """Return the numbers, or the path of the .npy file that the cell names.

        Returns:
            [T] or two axes, float32, or a path.

        Raises:
            DataError: the cell is neither.
        """
        if not isinstance(cell, str):
            return read_numbers(cell).astype(np.float32)
        if cell.lower().endswith(SERIES_SUFFIXES) or find_unreadable(cell) is not None:
            return self._resolve_series(cell)
        numbers: object = parse_series(cell)
        if numbers is None:
            try:
                numbers = limits.parse_json(cell)
            except ValueError:
                raise DataError(f"{cell[:40]!r} is not a series; write [1.5, 2, ...] or name a .npy file") from None
        return read_numbers(numbers).astype(np.float32)


def _can_be_path(cell: str) -> bool:
    """Return whether the operating system can have a file of this name: without zero bytes and halves of characters."""
    try:
        return b"\0" not in os.fsencode(cell)
    except UnicodeEncodeError:
        return False
