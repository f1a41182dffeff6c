"""The `shell` fixture: the command line, in an empty folder."""

from tests.end_to_end.conftest import shell as shell
