"""What goes wrong for a reason that the user can mend: printed in one or two lines, without a traceback.

Each message says where (file:row or key), what was found, and the mend.
"""

import difflib
from collections.abc import Iterable


class MmrunError(Exception):
    """A failure that is said in words, not by a traceback. `exit_code` is what the shell sees."""

    exit_code = 1


class ConfigError(MmrunError):
    """The command line or a YAML file asks for something that does not exist or does not fit."""

    exit_code = 2


class DataError(MmrunError):
    """A data file, or a row of one, cannot be used as it is."""

    exit_code = 2


class RunError(MmrunError):
    """A run started well and could not go on: a loss that is not finite, a damaged checkpoint."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
