"""A kill or a failing disk at single calls; `scripts/soak --kind kills` and `--kind storage` try many."""

import errno

import pytest

from tests.faults.injection import RUNS, check_kill, check_storage, train


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("run", [1, 8])
def test_a_run_killed_before_a_call_ends_as_if_it_had_never_stopped(tmp_path, run, share):
    check_kill(tmp_path, (run, share))


@pytest.mark.parametrize("trial", [(1, 0.2, errno.ENOSPC), (1, 0.7, errno.EROFS), (8, 0.5, errno.EIO)])
def test_a_call_that_fails_is_told_in_one_line_and_loses_nothing(tmp_path, trial):
    check_storage(tmp_path, trial)


def test_a_finished_run_is_shown_and_not_trained_again(tmp_path):
    assert train(tmp_path, RUNS[8]).calls > 100
    assert train(tmp_path, RUNS[8]).calls < 10
