"""Signals to real processes: a checkpoint, exit code 143, and the same result after resuming."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

WORDS = [
    *("dataset=synthetic", "modalities=[a,b]", "encoder.a.dims=[8]", "encoder.b.dims=[8]", "fusion.dim=4"),
    *("trainer.batch_size=16", "trainer.progress=false", "trainer.evaluate_every=1000"),
]


@pytest.fixture
def start(fork_server, tmp_path):
    """Return a function that starts a run; it writes its messages to `err.txt`."""

    def start(*words):
        command = ["-m", "mmrun", "train", *words, *WORDS, f"cache={tmp_path}/cache", f"outputs={tmp_path}/outputs"]
        with open(os.devnull, "r+") as nothing, open(tmp_path / "err.txt", "w") as err:
            return fork_server.start(*command, cwd=tmp_path, files=[nothing.fileno(), nothing.fileno(), err.fileno()])

    return start


def wait_until_training(folder, runs=1):
    """Wait, for two minutes at most, until so many runs of 100,000 steps have progressed; return their folders."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        training = []
        for file in folder.glob("outputs/*/*/status.json"):
            is_long = "steps: 100000\n" in (file.parent / "config.yaml").read_text()
            if is_long and '"step": 0' not in file.read_text():
                training.append(file.parent)
        if len(training) >= runs:
            return training
        time.sleep(0.05)
    raise TimeoutError(f"{len(training)} of {runs} runs train")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_run_with_a_checkpoint(start, tmp_path, number):
    process = start("budget.steps=100000")
    [run] = wait_until_training(tmp_path)
    process.send_signal(number)
    assert process.wait(60) == (130 if number == signal.SIGINT else 143)
    assert json.loads((run / "status.json").read_text())["status"] == "interrupted"
    step = json.loads((run / "checkpoints/train/last/state.json").read_text())["state"]["step"]
    assert step > 0
    err = (tmp_path / "err.txt").read_text()
    assert f"interrupted; mmrun resume {run} continues after step {step} of train\n" in err
    assert err.splitlines()[-1] == ("mmrun: interrupted" if number == signal.SIGINT else "mmrun: terminated")


def test_a_killed_run_is_shown_as_killed_at_once(start, fork_server, tmp_path):
    def mmrun(*words):
        return fork_server.run("-m", "mmrun", *words, cwd=tmp_path).stdout

    process = start("budget.steps=100000")
    [run] = wait_until_training(tmp_path)
    assert [row["status"] for row in json.loads(mmrun("ls", "--format", "json"))] == ["running"]
    process.kill()
    process.wait()
    assert [row["status"] for row in json.loads(mmrun("ls", "--format", "json"))] == ["killed"]
    assert "status      killed at train, " in mmrun("show", run)


def read_status(run):
    return json.loads((run / "status.json").read_text())


def test_a_killed_run_takes_no_other_of_its_sweep_with_it(start, tmp_path):
    words = ["-m", "--jobs", "2", "budget.steps=100000,2000,10", "trainer.save_every=1000"]
    process = start(*words)
    [longest] = wait_until_training(tmp_path)
    others = [run for run in longest.parent.glob("synthetic-*") if run != longest]
    os.kill(read_status(longest)["process"]["pid"], signal.SIGKILL)
    assert process.wait(120) == 1
    assert [read_status(run)["status"] for run in others] == ["finished", "finished"]
    stamps = [(run / "metrics.json").stat().st_mtime_ns for run in others]

    killed = read_status(longest)["process"]["pid"]
    again = start(*words)
    while read_status(longest)["process"]["pid"] == killed and again.poll() is None:
        time.sleep(0.05)
    again.send_signal(signal.SIGTERM)
    assert again.wait(60) == 143
    assert (tmp_path / "err.txt").read_text().startswith("a sweep of 3 runs, 2 already finished\n")
    assert [(run / "metrics.json").stat().st_mtime_ns for run in others] == stamps


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_signal_ends_a_sweep_with_checkpoints(start, tmp_path, jobs):
    process = start("-m", f"--jobs={jobs}", "budget.steps=100000", "seed=0,1")
    runs = wait_until_training(tmp_path, jobs)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert (tmp_path / "err.txt").read_text().splitlines()[-2:] == [
        "0 of 2 runs finished; the same command continues",
        "mmrun: terminated",
    ]
    for run in runs:
        assert json.loads((run / "status.json").read_text())["status"] == "interrupted"
        assert json.loads((Path(run) / "checkpoints/train/last/state.json").read_text())["state"]["step"] > 0
