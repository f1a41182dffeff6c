"""Which process may write into a run folder, or remove it."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmrun.errors import RunError, StorageError
from mmrun.results.files import remove_unfinished
from mmrun.results.folder import RunFolder


@contextmanager
def lock_run(run: RunFolder, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Keep every other process from training a run; the system releases the lock when this process dies.

    Args:
        run: its folder, which is made if need be.
        on_wait: called with a message where another process holds the lock, before waiting for it.

    Raises:
        RunError: another process trains this run, and `on_wait` is None; or there is a link in the folder.
        StorageError: the folder cannot be made.
    """
    run.make()
    descriptor = os.open(run.path, os.O_RDONLY)
    try:
        _lock(descriptor, run, on_wait)
        _refuse_links(run)
        _remove_unfinished(run)
        yield
    finally:
        os.close(descriptor)
        run.log.close()


def remove_run(run: RunFolder) -> None:
    """Remove a run folder with everything in it; what links in it lead to stays.

    Raises:
        RunError: another process trains this run.
        StorageError: a file cannot be removed.
    """
    descriptor = os.open(run.path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        _lock(descriptor, run, None)
        shutil.rmtree(run.path)
    except OSError as error:
        raise StorageError(f"{error.filename or run.path}: cannot be removed ({error.strerror})") from None
    finally:
        os.close(descriptor)


def _lock(descriptor: int, run: RunFolder, on_wait: Callable[[str], None] | None) -> None:
    """Lock an open folder, and wait for the lock where `on_wait` is given."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait is None:
            raise RunError(f"{run.path}: another process trains this run; wait for it or stop it") from None
        on_wait(f"{run.path}: another process trains this run; waiting for it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _refuse_links(run: RunFolder) -> None:
    """Raise an error if a link lies in the folder: writing through it would change files elsewhere."""
    for folder, folders, files in os.walk(run.path):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                raise RunError(f"{path}: is a link, which training does not write through; replace it by a copy")


def _remove_unfinished(run: RunFolder) -> None:
    """Remove what killed processes left half written."""
    for folder in (run.path, run.predictions):
        remove_unfinished(folder)
    for folder in run.checkpoints.glob("*/*.new"):
        shutil.rmtree(folder, ignore_errors=True)
