"""Digests of the content of files, remembered between runs, so that a file that did not change is read once."""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import blake2b, file_digest
from itertools import islice
from pathlib import Path

from mmrun.data.subfiles import open_file, stat_file
from mmrun.errors import DamagedError

MEMORY = "files.sqlite"  # in the cache folder
DIGEST_SIZE = 20  # bytes
SETTLED = 2_000_000_000  # nanoseconds without a change after which a file is remembered: clocks of disks are coarse
MAX_STAMPS = 100_000  # files whose stamps are kept; of more, none are compared later
CHUNK_SIZE = 500  # files looked up and remembered at once
TIMEOUT = 10  # seconds to wait for another process that writes
TABLE = "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, stamp TEXT, digest TEXT) WITHOUT ROWID"


Known = dict[str, tuple[str, str]]  # by path: size, times and inode when the file was read, and the digest


class FileDigests:
    """Computes digests of files, and remembers them by path, size, times of change and inode.

    Args:
        memory: an SQLite file that processes share; None: nothing is remembered.

    Attributes:
        stamps: `read_stamp` of the files that were digested, by path; of some more than MAX_STAMPS at most.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self.stamps: dict[str, str] = {}

    @property
    def folder(self) -> Path | None:
        """The folder of the memory: the cache of the run; None where nothing is remembered."""
        return None if self._memory is None else self._memory.parent

    def digest(self, paths: Iterable[str]) -> Iterator[str]:
        """Yield the digest of each file. Those that are not remembered are read, several at a time.

        Args:
            paths: absolute paths.

        Yields:
            40 hex digits; of a file that cannot be read, the reason.
        """
        iterator = iter(paths)
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="digest") as pool:
            while chunk := list(islice(iterator, CHUNK_SIZE)):
                yield from self._digest_chunk(chunk, pool)

    def _digest_chunk(self, paths: list[str], pool: ThreadPoolExecutor) -> list[str]:
        now = time.time_ns()
        stamps = {path: read_stamp(path) for path in paths}
        if len(self.stamps) <= MAX_STAMPS:
            self.stamps |= stamps
        known = self._recall(paths)
        changed = [path for path, stamp in stamps.items() if path not in known or known[path][0] != stamp]
        computed: Known = {}
        for path, digest in zip(changed, pool.map(_digest_file, changed), strict=True):
            computed[path] = stamps[path], digest
        self._remember({path: entry for path, entry in computed.items() if _is_settled(entry[0], now)})
        known |= computed
        return [known[path][1] for path in paths]

    def _recall(self, paths: list[str]) -> Known:
        """Look up files in the memory; whatever is wrong with it, their contents can be read instead."""
        if self._memory is None or not self._memory.exists():
            return {}
        keys = [os.fsencode(path) for path in paths]
        query = f"SELECT path, stamp, digest FROM files WHERE path IN ({','.join('?' * len(keys))})"
        try:
            with closing(sqlite3.connect(self._memory, TIMEOUT)) as connection:
                return {os.fsdecode(key): (stamp, digest) for key, stamp, digest in connection.execute(query, keys)}
        except (sqlite3.Error, OSError):
            return {}

    def _remember(self, known: Known) -> None:
        """Write files to the memory, where that is possible."""
        if self._memory is None or not known:
            return
        rows = [(os.fsencode(path), stamp, digest) for path, (stamp, digest) in known.items()]
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._memory, TIMEOUT)) as connection, connection:
                connection.execute(TABLE)
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)
        except (sqlite3.OperationalError, OSError):  # read-only, full or in use
            return
        except sqlite3.DatabaseError:  # damaged
            self._memory.unlink(missing_ok=True)


def count_files(memory: Path) -> int:
    """Return the number of files whose digests are remembered.

    Args:
        memory: the SQLite file, every page of which is read.

    Raises:
        DamagedError: it is damaged.
    """
    try:
        with closing(sqlite3.connect(f"{memory.resolve().as_uri()}?mode=ro", TIMEOUT, uri=True)) as connection:
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise DamagedError(f"{memory}: damaged ({state})")
            (number,) = connection.execute("SELECT count(*) FROM files").fetchone()
            return int(number)
    except sqlite3.Error as error:
        raise DamagedError(f"{memory}: damaged ({error})") from None


class NoDigests(FileDigests):
    """For those who look at a data set without training on it: no file is read, and every digest is empty."""

    def digest(self, paths: Iterable[str]) -> Iterator[str]:
        """Yield an empty digest for each file."""
        yield from ("" for _ in paths)


def read_stamp(path: str) -> str:
    """Return what changes whenever a file is written: its size, times and inode; empty where it cannot be asked.

    Args:
        path: of the file.
    """
    try:
        return stat_file(path).stamp
    except OSError:
        return ""


def _is_settled(stamp: str, now: int) -> bool:
    """Return whether a later change of a file would change its stamp: two within one tick of a clock would not."""
    return stamp != "" and max(int(part) for part in stamp.split()[:2]) < now - SETTLED


def _digest_file(path: str) -> str:
    try:
        with open_file(path) as file:
            return file_digest(file, lambda: blake2b(digest_size=DIGEST_SIZE)).hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"  # decoding raises it, with the row
