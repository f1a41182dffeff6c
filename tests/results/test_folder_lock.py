"""One process at a time writes into a run folder."""

import signal
import subprocess
import sys

import pytest

from mmrun.errors import RunError
from mmrun.results.folder import RunFolder
from mmrun.results.folder_lock import lock_run

HOLD = """
import sys, time
from mmrun.results.folder import RunFolder
from mmrun.results.folder_lock import lock_run
with lock_run(RunFolder(sys.argv[1])):
    print("holds", flush=True)
    time.sleep(60)
"""


def test_only_one_process_trains_a_run_and_a_killed_one_releases_the_lock(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "holds\n"
    with (
        pytest.raises(RunError, match="run: another process trains this run; wait for it or stop it"),
        lock_run(RunFolder(tmp_path / "run")),
    ):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock_run(RunFolder(tmp_path / "run")):
        assert (tmp_path / "run").is_dir()
