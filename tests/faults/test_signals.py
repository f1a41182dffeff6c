"""Signals to real processes: a checkpoint, exit code 143, and the same result after resuming."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORDS = [
    *("dataset=synthetic", "modalities=[a,b]", "encoder.a.dims=[8]", "encoder.b.dims=[8]", "fusion.dim=4"),
    *("trainer.batch_size=16", "trainer.progress=false", "trainer.evaluate_every=1000"),
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def start(folder, *words):
    command = [sys.executable, "-m", "mmrun", "train", *words, *WORDS, f"cache={folder}/cache"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, f"outputs={folder}/outputs"], cwd=folder, env=ENVIRONMENT, **pipes)


def mmrun(folder, *words):
    command = [sys.executable, "-m", "mmrun", *map(str, words)]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def wait_until_training(folder, runs=1):
    """Wait until so many runs have passed their first status update, and return their folders."""
    while True:
        files = list(folder.glob("outputs/*/*/status.json"))
        training = [file.parent for file in files if '"step": 0' not in file.read_text()]
        if len(training) >= runs:
            return training
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_run_with_a_checkpoint(tmp_path, number):
    process = start(tmp_path, "budget.steps=100000")
    [run] = wait_until_training(tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else 143)
    assert json.loads((run / "status.json").read_text())["status"] == "interrupted"
    step = json.loads((run / "checkpoints/train/last/state.json").read_text())["state"]["step"]
    assert step > 0
    assert f"interrupted; mmrun resume {run} continues after step {step} of train\n" in err
    assert err.splitlines()[-1] == ("mmrun: interrupted" if number == signal.SIGINT else "mmrun: terminated")


def test_a_killed_run_is_shown_as_killed_at_once(tmp_path):
    process = start(tmp_path, "budget.steps=100000")
    [run] = wait_until_training(tmp_path)
    assert [row["status"] for row in json.loads(mmrun(tmp_path, "ls", "--format", "json").stdout)] == ["running"]
    process.kill()
    process.wait()
    assert [row["status"] for row in json.loads(mmrun(tmp_path, "ls", "--format", "json").stdout)] == ["killed"]
    assert "status      killed at train, " in mmrun(tmp_path, "show", run).stdout


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_signal_ends_a_sweep_with_checkpoints(tmp_path, launcher):
    launch = [] if launcher == "basic" else ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = start(tmp_path, "-m", *launch, "budget.steps=100000", "seed=0,1")
    runs = wait_until_training(tmp_path, 1 if launcher == "basic" else 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err.splitlines()[-2:] == ["0 of 2 runs finished; the same command continues", "mmrun: terminated"]
    for run in runs:
        assert json.loads((run / "status.json").read_text())["status"] == "interrupted"
        assert json.loads((Path(run) / "checkpoints/train/last/state.json").read_text())["state"]["step"] > 0
