"""Every command of the README and docs, verbatim, in its order, in one folder: a clone of this repository."""

from tests.clone import format_failures, run_page
from tests.shown_commands import PAGES


def test_every_command_works_in_a_clone(clone, forked_programs):
    failures = [format_failures(run_page(clone, forked_programs, page)) for page in PAGES]
    assert not any(failures), "\n\n".join(filter(None, failures))
