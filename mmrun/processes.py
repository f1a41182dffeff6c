"""Processes: which one wrote a file, whether it is still alive, and which one may write now."""

import fcntl
import functools
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypedDict

from mmrun.digests import hash_bytes


class ProcessId(TypedDict):
    """One process, told apart from every later one with the same number.

    Attributes:
        pid: its number.
        started: clock ticks from the start of the system to that of the process; 0 where the system does not tell.
        host: hash of the name of the machine, which a run that is passed on does not tell.
        boot: hash of the last start of that machine, and of the container.
    """

    pid: int
    started: int
    host: str
    boot: str


def this_process() -> ProcessId:
    """Return the identity of this process."""
    return {"pid": os.getpid(), "started": _start_time(os.getpid()), "host": _host(), "boot": _boot()}


def is_alive(process: Mapping[str, Any]) -> bool | None:
    """Return whether a process still runs; None where that cannot be known: on another machine, or before a restart.

    Args:
        process: a `ProcessId`, perhaps with other keys.
    """
    if (process.get("host"), process.get("boot")) != (_host(), _boot()):
        return None
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return bool(_start_time(process["pid"]) == process["started"])


def _host() -> str:
    return hash_bytes(platform.node().encode())[:12]


def _start_time(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    is_zombie = fields[0] == "Z"  # it is dead, and its parent has not noticed yet
    return -1 if is_zombie else int(fields[19])


@functools.cache
def _boot() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        boot = ""
    return hash_bytes(boot.encode())[:8]


# ------------------------------------------------------------------------------------------------- temporary folders

PARTIAL = ".partial"  # ends the names of folders that are being written
DAY = 86400  # seconds


def make_temporary_folder(folder: Path) -> Path:
    """Make an empty folder beside another one, NAME.BOOT-PID-STARTED.RANDOM.partial, and return its path.

    Args:
        folder: that it will become.
    """
    writer = this_process()
    prefix = f"{folder.name}.{writer['boot']}-{writer['pid']}-{writer['started']}."
    return Path(tempfile.mkdtemp(prefix=prefix, suffix=PARTIAL, dir=folder.parent))


def remove_abandoned(folder: Path) -> None:
    """Remove temporary folders whose writer is dead, or older than a day where that cannot be known.

    Args:
        folder: in which they lie.
    """
    for path in folder.glob(f"*{PARTIAL}"):
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:  # another process was first
            continue
        alive = _is_writer_alive(path)
        if alive is False or (alive is None and age > DAY):
            shutil.rmtree(path, ignore_errors=True)


def _is_writer_alive(path: Path) -> bool | None:
    match = re.search(r"\.([0-9a-f]{8})-(\d+)-(\d+)\.", path.name)
    if match is None:
        return None
    return is_alive({"host": _host(), "boot": match[1], "pid": int(match[2]), "started": int(match[3])})


# ----------------------------------------------------------------------------------------------------------- locks


@contextmanager
def exclusive(folder: Path, on_wait: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
    """Hold a lock beside a folder: one process at a time makes a result. The system frees it when the process dies.

    Without a lock where none can be made: in a read-only cache no process makes a result.

    Args:
        folder: the result; the lock is `<folder>.lock`, and is removed at the end.
        on_wait: called before this process waits, with the holder: "process 1234".
    """
    path = folder.with_suffix(".lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = _acquire(path, on_wait)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before it is released: who locks the removed file notices and tries again
        fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough where a forked child has the file open
        file.close()


def _acquire(path: Path, on_wait: Callable[[str], None]) -> IO[str]:
    """Return a file that is locked, and that is still the one at its path."""
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - it is closed when the lock is released
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            on_wait(f"process {file.read(20) or '?'}")
            fcntl.flock(file, fcntl.LOCK_EX)
        if _is_still_at(path, file):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file
        file.close()


def _is_still_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
