import pytest

from mmrun.errors import ConfigError, DataError, MmrunError, RunError, escape, nearest


def test_the_shell_sees_bad_input_as_2_and_failed_runs_as_1():
    assert [error.exit_code for error in (ConfigError, DataError, RunError, MmrunError)] == [2, 2, 1, 1]


@pytest.mark.parametrize(("word", "hint"), [("lennet", "; did you mean 'lenet'?"), ("zzz", "")])
def test_the_nearest_name_is_offered_where_one_is_near(word, hint):
    assert nearest(word, ["lenet", "cnn"]) == hint


def test_names_from_files_cannot_add_lines_or_colours():
    assert escape("no column 'a\n\x1b[31mb é'") == "no column 'a\\n\\x1b[31mb é'"
