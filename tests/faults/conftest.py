"""The command, typed in an empty folder."""

from tests.end_to_end.conftest import shell as shell
