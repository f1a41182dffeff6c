"""Errors that the user can fix. The command line prints them in one or two lines, without a traceback.

Each message says where the problem is (file:row, key or flag), what was found there, and what to do instead.
"""

import difflib
import errno
from collections.abc import Iterable

# A disk that is full, over its quota, read-only or broken; a file above the limit of this process
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG)


class MmrunError(Exception):
    """Base class of all errors that are reported to the user.

    Attributes:
        exit_code: of the command.
    """

    exit_code = 1


class ConfigError(MmrunError):
    """The command line or a YAML file asks for something that does not exist or does not fit."""

    exit_code = 2


class DataError(MmrunError):
    """A data file, or one of its rows, cannot be used as it is."""

    exit_code = 2


class DamagedError(DataError):
    """A file that mmrun wrote is missing, or no longer what was written."""

    exit_code = 1


class RunError(MmrunError):
    """A run started but cannot continue: the loss is not finite, or memory does not hold a single row."""


class StorageError(RunError):
    """A file cannot be written: the disk is full or read-only, or its folder was removed."""


class Terminated(KeyboardInterrupt):
    """A signal of a scheduler, of `kill` or of a closed terminal ends the command.

    Attributes:
        exit_code: of the command: 128 + SIGTERM.
    """

    exit_code = 143


def escape(text: str) -> str:
    """Escape what is not printable, so that a name from a file cannot move the cursor or add lines.

    Args:
        text: of a message.
    """
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the part of an error message that suggests the valid name closest to a misspelt one.

    Args:
        word: what the user typed.
        choices: the valid names.

    Returns:
        "; did you mean 'NAME'?", or an empty string if no name is similar.
    """
    matches = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean '{matches[0]}'?" if matches else ""
