"""A sweep that is killed with SIGKILL, started again; the figures over more runs are benchmarks/sweep_kill.py's."""

import signal
import time
from pathlib import Path

from tests.end_to_end.conftest import SMALL, metrics, weights

WORDS = ["train", "-m", *SMALL, "trainer.save_every=0.05", "strategy=component,scratch", "seed=0,1"]


def kill_when(fork_server, outputs, finished):
    """Start the sweep in a process of its own, and kill that when so many runs are finished and the next one trains."""
    process = fork_server.start("-m", "mmrun", *WORDS, f"outputs={outputs}", f"cache={outputs}.cache", cwd=Path.cwd())
    while process.poll() is None:
        done = len(list(outputs.glob("*/*/metrics.json")))
        if done >= finished and len(list(outputs.glob("*/*/checkpoints/*/last"))) > 3 * min(done, 2) + max(0, done - 2):
            process.kill()
        time.sleep(0.02)
    assert process.returncode == -signal.SIGKILL


def test_a_killed_sweep_ends_as_one_never_killed(shell, fork_server):
    kill_when(fork_server, Path("killed"), finished=1)
    stamps = {file: file.stat().st_mtime_ns for file in Path("killed").glob("*/*/metrics.json")}
    assert 1 <= len(stamps) < 4
    code, out, err = shell(*WORDS, "outputs=killed", "cache=killed.cache")
    assert code == 0
    assert out.splitlines()[-1] == "4 of 4 runs finished"
    assert f"{len(stamps)} already finished" in err
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps
    assert shell(*WORDS, "outputs=whole", "cache=whole.cache")[0] == 0
    names = sorted(path.name for path in Path("whole/default").iterdir() if not path.name.startswith("."))
    assert len(names) == 4
    for name in names:
        killed, whole = Path("killed/default", name), Path("whole/default", name)
        assert metrics(killed)["metrics"] == metrics(whole)["metrics"]
        assert list(weights(killed).values()) == list(weights(whole).values())
