"""Notes and progress are left out with --quiet."""

from mmrun.cli.output import is_quiet, set_quiet, split_quiet


def test_quiet_may_stand_anywhere():
    assert split_quiet(["--quiet", "ls"]) == (["ls"], True)
    assert split_quiet(["ls", "outputs"]) == (["ls", "outputs"], False)


def test_quiet_is_off_until_it_is_set():
    assert not is_quiet()
    set_quiet(True)
    assert is_quiet()
    set_quiet(False)
