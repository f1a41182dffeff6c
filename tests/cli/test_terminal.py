"""How a run is shown while it trains: as lines, and on a terminal of 80 columns."""

import os
import pty
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from mmrun.cli.output import set_quiet
from mmrun.cli.progress import SweepPosition
from mmrun.cli.terminal import Terminal
from mmrun.training.budget import StageBudget
from mmrun.training.state import TrainState
from tests.results.fabricate import finished

SHARES = {"pretrain-image": 0.5, "finetune": 0.5}


def built_stage(name, monitored=()):
    """A stage of 100 steps, 10 of which are an epoch."""
    stage = SimpleNamespace(
        name=name,
        monitored=monitored,
        batch_size=8,
        config=SimpleNamespace(budget=StageBudget(steps=100)),
        optimizer=SimpleNamespace(param_groups=[{"lr": 0.01}, {"lr": 0.003}]),
    )
    stage.spent = lambda state: state.step / 100
    stage.epochs = lambda steps: steps / 10
    return stage


def train(terminal, time, folder):
    """Let a terminal observe two stages, of which the second one is evaluated twice."""
    terminal.on_run_start(folder, list(SHARES))
    terminal.on_message("note: image: 32 x 32 pixels")
    terminal.on_stage_start(built_stage("pretrain-image"), TrainState())
    terminal.on_message("pretrain-image: reused, charged 3.0 s")
    terminal.on_stage_start(built_stage("finetune", ("accuracy",)), TrainState())
    state = TrainState(step=50)
    time.seconds = 65.0
    terminal.on_step_end(state, {"loss": torch.tensor(0.5)})
    state.update_best(0.75, higher_is_better=True)
    terminal.on_evaluate_end(state, {"train/loss": 0.5, "val/accuracy": 0.75, "val/nll": 1.0})
    state.step, time.seconds = 100, 125.0
    state.update_best(0.5, higher_is_better=True)
    terminal.on_evaluate_end(state, {"train/loss": 0.25, "val/accuracy": 0.5, "val/nll": 1.0})
    terminal.on_run_end(folder)


class FakeTime:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def folder(tmp_path):
    return finished(tmp_path, 0.6, "component").path


@pytest.fixture
def quiet():
    set_quiet(True)
    yield
    set_quiet(False)


def test_without_a_terminal_each_evaluation_is_a_line(folder, capsys):
    time = FakeTime()
    with Terminal(shares=SHARES, now=time) as terminal:
        train(terminal, time, folder)
    assert capsys.readouterr().err.splitlines() == [
        f"{folder.name}: pretrain-image > finetune",
        "note: image: 32 x 32 pixels",
        "pretrain-image: reused, charged 3.0 s",
        "finetune        epoch  5.0/10  step    50     1:05  train/loss 0.5000  val/accuracy 0.7500  *",
        "finetune        epoch 10.0/10  step   100     2:05  train/loss 0.2500  val/accuracy 0.5000",
    ]


def test_a_run_of_a_sweep_says_which_one_it_is_and_how_it_ended(folder, capsys):
    time = FakeTime()
    with Terminal(shares=SHARES, sweep=SweepPosition(2, 3, 1, 2, 0.0, False), now=time) as terminal:
        train(terminal, time, folder)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"run 2/3: {folder.name}: pretrain-image > finetune"
    assert lines[1] == "pretrain-image: reused, charged 3.0 s"  # the sweep has printed the notes about the data
    assert lines[-1] == f"run 2/3: {folder.name}: finished in 2 min 5 s, test/accuracy 0.6000"


def test_parallel_runs_print_a_line_each_as_they_start_and_end(folder, capsys):
    time = FakeTime()
    with Terminal(shares=SHARES, sweep=SweepPosition(2, 3, 1, 2, 0.0, True), now=time) as terminal:
        train(terminal, time, folder)
    assert capsys.readouterr().err.splitlines() == [
        f"run 2/3: {folder.name}: starts",
        "run 2/3: pretrain-image: reused, charged 3.0 s",
        f"run 2/3: {folder.name}: finished in 2 min 5 s, test/accuracy 0.6000",
    ]


def test_quiet_shows_only_failures(folder, capsys, quiet):
    time = FakeTime()
    with Terminal(shares=SHARES, now=time) as terminal:
        train(terminal, time, folder)
        terminal.on_failure("the loss is nan")
    assert capsys.readouterr().err == "failed: the loss is nan\n"


def test_only_the_first_process_prints(folder, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    time = FakeTime()
    with Terminal(shares=SHARES, now=time) as terminal:
        train(terminal, time, folder)
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_the_live_display(tmp_path):
    """The real command on a pseudo-terminal."""
    words = ["dataset=synthetic", "dataset.num_rows=800", "modalities=[a,b]", "fusion.dim=4", "budget.epochs=30"]
    words += ["encoder.a.dims=[8]", "encoder.b.dims=[8]", "trainer.batch_size=16", "trainer.evaluate_every=10"]
    output = run_on_terminal([sys.executable, "-m", "mmrun", "train", *words], tmp_path, columns=80)
    assert "samples/s" in output
    assert "lr 0.00" in output
    assert "━" in output
    assert "best val/accuracy" in output
    assert "train  epoch 10.0/30" in output
    assert output.rstrip().splitlines()[-1].startswith("      mmrun eval synthetic-scratch-s0-")


def run_on_terminal(command, folder, columns):
    """Run a command on a pseudo-terminal, and return what it prints."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "MMRUN_CACHE": str(folder / "cache")}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    chunks = []
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(master)
    assert process.wait() == 0, b"".join(chunks).decode()
    return b"".join(chunks).decode()
