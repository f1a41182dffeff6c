"""The `shell` fixture: the command line, in an empty folder."""

from tests.end_to_end.conftest import few_digits as few_digits
from tests.end_to_end.conftest import folder_of_few_digits as folder_of_few_digits
from tests.end_to_end.conftest import shell as shell
