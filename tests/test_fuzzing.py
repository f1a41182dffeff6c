"""A few random command lines; `scripts/soak` tries more of them, and manifests and run folders."""

from hypothesis import given, settings

from tests import fuzzing


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(fuzzing.COMMAND_LINES)
def test_any_command_line_works_or_says_why_not(words):
    fuzzing.check_command_line(words)
