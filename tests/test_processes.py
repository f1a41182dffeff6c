"""Whether the process that wrote a file is still alive, and which one may write now."""

import multiprocessing
import os
import signal
import subprocess
import time

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


def test_a_lock_lies_beside_the_result_while_it_is_held(tmp_path):
    with processes.exclusive(tmp_path / "stages" / "key"):
        assert [file.name for file in (tmp_path / "stages").iterdir()] == ["key.lock"]
    assert list((tmp_path / "stages").iterdir()) == []


def hold(folder, ready):
    with processes.exclusive(folder):
        ready.set()
        time.sleep(60)


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "key", ready))
    holder.start()
    ready.wait()
    waited_for = []

    def kill_holder(name):
        waited_for.append(name)
        os.kill(holder.pid, signal.SIGKILL)

    with processes.exclusive(tmp_path / "key", kill_holder):
        assert waited_for == [f"process {holder.pid}"]
    holder.join()
    assert list(tmp_path.iterdir()) == []
