"""The folder of a benchmark. It may come from someone else: nothing outside it is read, and nothing without a limit."""

import csv
import gzip
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, cast

from mmrun.data.limits import MAX_TEXT_BYTES, parse_json
from mmrun.data.names import join_names
from mmrun.data.sheets.text_lines import read_lines
from mmrun.errors import DataError, escape

MAX_TABLE_LETTERS = 1 << 31  # of a CSV file when it is unpacked
MAX_JSON_BYTES = 1 << 30
MAX_NAMES = 5  # in a message
MAX_FOLDERS = 100  # searched for what is missing


class Source:
    """Reads the files of a benchmark, and counts those that are missing.

    All names are relative to the folder and written with /.

    Args:
        folder: that the user names.
        title: of the benchmark.
        allow_missing: whether rows may lack files.
        allow_outside: whether links may lead out of the folder.

    Attributes:
        missing: names of the files that rows need and the folder lacks, by modality.
        left_out: number of rows that are not written, by reason.
        notes: what the user should know.

    Raises:
        DataError: the folder does not exist, or lacks what the benchmark has. All methods raise it.
    """

    def __init__(self, folder: Path, title: str, allow_missing: bool = False, allow_outside: bool = False) -> None:
        self.folder, self.title, self.allow_missing = folder, title, allow_missing
        self._allow_outside = allow_outside
        self.missing: dict[str, list[str]] = {}
        self.left_out: Counter[str] = Counter()
        self.notes: list[str] = []
        self._entries: dict[str, dict[str, bool]] = {}  # whether it is a file, by folder and name
        if not folder.is_dir():
            raise DataError(f"--source {folder}: is not a folder; name the one into which {title} was unpacked")

    # ------------------------------------------------------------------------------------------------- what is there

    def has_file(self, name: str) -> bool:
        """Return whether there is a file.

        Args:
            name: relative to the folder.
        """
        parent, _, last = name.rpartition("/")
        return self._list(parent).get(last, False)

    def list_files(self, folder: str, pattern: str) -> list[str]:
        """Return the names of the files of a folder that match a pattern, sorted; none if there is no such folder.

        Args:
            folder: relative name; "" is the source itself.
            pattern: of the last part of their names: *.wav
        """
        return self._match(folder, pattern, are_files=True)

    def list_folders(self, folder: str, pattern: str = "*") -> list[str]:
        """Return the names of the folders in a folder that match a pattern, sorted.

        Args:
            folder: relative name; "" is the source itself.
            pattern: of the last part of their names.
        """
        return self._match(folder, pattern, are_files=False)

    def _match(self, folder: str, pattern: str, are_files: bool) -> list[str]:
        prefix = f"{folder}/" if folder else ""
        names = [name for name, is_file in self._list(folder).items() if is_file == are_files]
        return [prefix + name for name in sorted(names) if fnmatchcase(name, pattern)]

    def find(self, *names: str) -> str | None:
        """Return the first of several names that is a file or a folder; None if none is.

        Args:
            names: where releases of the benchmark put it.
        """
        for name in names:
            parent, _, last = name.rpartition("/")
            if last in self._list(parent):
                return name
        return None

    def require(self, *names: str) -> str:
        """Return the first of several names that is a file or a folder.

        Args:
            names: where releases of the benchmark put it.
        """
        name = self.find(*names)
        if name is None:
            places = " or ".join(names)
            raise DataError(
                f"{self.folder}: is not a folder of {self.title}: it lacks {places}; {self._describe(names)}"
            )
        return name

    def take_file(self, modality: str, name: str) -> str | None:
        """Return the name of a file that a row needs; None, and count it, if it is missing.

        Args:
            modality: of the row.
            name: of the file.
        """
        if self.has_file(name):
            return name
        self.missing.setdefault(modality, []).append(name)
        return None

    def _list(self, folder: str) -> dict[str, bool]:
        if folder not in self._entries:
            self._entries[folder] = self._scan(folder)
        return self._entries[folder]

    def _scan(self, folder: str) -> dict[str, bool]:
        path = self._locate(folder)
        try:
            with os.scandir(path) as entries:
                return {entry.name: entry.is_file() for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None

    def _describe(self, missing_names: Sequence[str]) -> str:
        """Describe what the folder holds, or which folder in it holds what is missing."""
        for folder in self.list_folders("")[:MAX_FOLDERS]:
            if not self._is_outside(folder) and self.find(*(f"{folder}/{name}" for name in missing_names)):
                return f"{escape(folder)} has it, so write --source {escape(str(self.folder / folder))}"
        names = sorted(self._list(""))
        if not names:
            return "it is empty"
        return f"it holds {join_names(list(map(escape, names)), MAX_NAMES)}"

    def _locate(self, name: str) -> Path:
        """Return the path of a name, which must not lead out of the folder, not even by a link."""
        is_plain = name == "" or os.path.normpath(name) == name  # without "." and ".."
        if "\0" in name or not is_plain or name.startswith(("/", "..")):
            raise DataError(f"{self.folder}: '{escape(name)}' is no name of a file in the folder; get the files again")
        if self._is_outside(name) and not self._allow_outside:
            raise DataError(
                f"{self.folder}: '{escape(name)}' is a link out of the folder; put a copy there, or allow it with "
                "--allow-outside"
            )
        return self.folder / name

    def _is_outside(self, name: str) -> bool:
        inside, real = os.path.realpath(self.folder), os.path.realpath(self.folder / name)
        return real != inside and not real.startswith(inside.rstrip(os.sep) + os.sep)

    # ---------------------------------------------------------------------------------------------------- what it says

    def read_table(self, name: str, columns: Sequence[str], header: bool = True) -> Iterator[dict[str, str]]:
        """Yield the rows of a CSV file, which may be packed with gzip.

        Args:
            name: of the file.
            columns: that it has to have; of a file without a header, all of them.
            header: whether the first line names the columns.
        """
        reader = csv.reader(self._read_lines(name))
        try:
            names = next(reader, []) if header else list(columns)
            lacking = [column for column in columns if column not in names]
            if lacking:
                raise DataError(f"{name}: lacks the column {lacking[0]}; it has {escape(', '.join(names)) or 'none'}")
            for cells in reader:
                if len(cells) != len(names):
                    count = f"{len(cells)} cells, where {len(names)} belong"
                    raise DataError(f"{name}:{reader.line_num}: has {count}; get the file again")
                yield dict(zip(names, cells, strict=True))
        except csv.Error as error:
            raise DataError(f"{name}:{reader.line_num}: is not CSV ({error}); get the file again") from None

    def _read_lines(self, name: str) -> Iterator[str]:
        path = self.locate(name)
        num_letters = 0
        try:
            with _open_text(path) as file:
                for line in read_lines(file, name):
                    num_letters += len(line)
                    if num_letters > MAX_TABLE_LETTERS:
                        raise DataError(f"{name}: has more than {MAX_TABLE_LETTERS >> 30} GiB of text; is it damaged?")
                    yield line
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise DataError(f"{name}: cannot be read ({_describe_error(error)}); get the file again") from None

    def read_json(self, name: str, shrink: Callable[[dict[str, object]], object] | None = None) -> object:
        """Read a JSON file.

        Args:
            name: of the file.
            shrink: replaces each object once it is parsed, so that large files need less memory.
        """
        try:
            return parse_json(self._read_bytes(name, MAX_JSON_BYTES), shrink)
        except ValueError as error:
            raise DataError(f"{name}: is not JSON ({error}); get the file again") from None

    def read_json_lines(self, name: str, fields: Sequence[str]) -> Iterator[dict[str, object]]:
        """Yield the objects of a file that has one per line.

        Args:
            name: of the file.
            fields: that each has to have.
        """
        for number, line in enumerate(self._read_lines(name), start=1):
            if not line.strip():
                continue
            try:
                value = parse_json(line)
            except ValueError as error:
                raise DataError(f"{name}:{number}: is not JSON ({error}); get the file again") from None
            yield check_fields(value, fields, f"{name}:{number}")

    def read_text(self, name: str) -> str:
        """Read a text file.

        Args:
            name: of the file.
        """
        return self._read_bytes(name, MAX_TEXT_BYTES).decode("utf-8", "replace")

    def locate(self, name: str) -> Path:
        """Return the path of a regular file, which can be opened without waiting for another process.

        Args:
            name: of the file.
        """
        path = self._locate(name)
        if not path.is_file():
            raise DataError(f"{path}: is not a file; get the files again")
        return path

    def read_start(self, name: str, num_bytes: int) -> bytes:
        """Read the first bytes of a file.

        Args:
            name: of the file.
            num_bytes: at most so many.
        """
        path = self.locate(name)
        try:
            with open(path, "rb") as file:
                return file.read(num_bytes)
        except OSError as error:
            raise DataError(f"{name}: cannot be read ({error.strerror})") from None

    def _read_bytes(self, name: str, limit: int) -> bytes:
        content = self.read_start(name, limit + 1)
        if len(content) > limit:
            raise DataError(f"{name}: is larger than {limit >> 20} MiB; is it damaged?")
        return content


def check_fields(value: object, fields: Sequence[str], location: str) -> dict[str, object]:
    """Return a JSON object that has some fields.

    Args:
        value: that was parsed.
        fields: that it has to have.
        location: of the object, for the message.

    Raises:
        DataError: it is no object, or lacks one.
    """
    if not isinstance(value, dict):
        raise DataError(f"{location}: is not a JSON object; get the file again")
    lacking = [field for field in fields if field not in value]
    if lacking:
        raise DataError(f"{location}: lacks '{lacking[0]}'; get the file again")
    return value


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return cast(IO[str], gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return open(path, encoding="utf-8-sig", newline="")


def _describe_error(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return getattr(error, "strerror", None) or str(error)
