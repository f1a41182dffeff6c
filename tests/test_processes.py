"""Whether the process that wrote a file is still alive."""

import os
import subprocess

import pytest

from mmrun import processes


def test_this_process_is_alive_and_one_that_ended_is_not():
    this = processes.this_process()
    assert processes.is_alive(this) is True
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert processes.is_alive({**this, "pid": ended.pid}) is False


def test_another_process_with_the_same_number_is_not_the_one():
    this = processes.this_process()
    assert processes.is_alive({**this, "started": this["started"] + 1}) is False


@pytest.mark.parametrize("key", ["host", "boot"])
def test_of_another_machine_or_start_nothing_is_known(key):
    assert processes.is_alive({**processes.this_process(), key: "other"}) is None


def test_the_temporary_folder_of_a_dead_process_is_removed(tmp_path):
    kept = processes.make_temporary_folder(tmp_path / "column")
    this = processes.this_process()
    abandoned = kept.with_name(kept.name.replace(f"-{this['started']}.", f"-{this['started'] + 1}."))
    abandoned.mkdir()
    processes.remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [kept]


def test_the_temporary_folder_of_another_machine_is_kept_for_a_day(tmp_path):
    foreign = tmp_path / "column.00000000-1-1.x.partial"
    foreign.mkdir()
    processes.remove_abandoned(tmp_path)
    assert foreign.exists()
    os.utime(foreign, (0, 0))
    processes.remove_abandoned(tmp_path)
    assert not foreign.exists()
