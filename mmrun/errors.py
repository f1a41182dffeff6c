"""Errors that the user can fix. The command line prints them in one or two lines, without a traceback.

Each message says where the problem is (file:row, key or flag), what was found there, and what to do instead.
"""

import difflib
from collections.abc import Iterable


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


class RunError(MmrunError):
    """A run started but cannot continue: the loss is not finite, or a checkpoint is damaged."""


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
