import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.end_to_end.conftest import metrics

WORDS = [
    "strategy.stages.train.monitor=loss",
    "trainer.eval_batch_size=26",
    "modalities=[text]",
    "encoder.text.dropout=0",
    "budget.epochs=1",
    "trainer.batch_size=32",
]


def last_event(run):
    return json.loads((run / "log.jsonl").read_text().splitlines()[-1])


def test_two_processes_train_as_one_does(shell, tmp_path):
    """Without batch statistics and random masks the weights agree to rounding, the figures exactly."""
    words = ["train", *WORDS, "trainer.device=cpu"]
    assert shell(*words, "outputs=one")[0] == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29571"]
    done = subprocess.run(
        [*torchrun, "-m", "mmrun", *words, "outputs=two"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("train/loss") == 1  # one process speaks
    one, two = (next(Path(name).glob("*/*")) for name in ("one", "two"))
    assert one.name == two.name
    assert metrics(two)["metrics"]["test"]["accuracy"] == metrics(one)["metrics"]["test"]["accuracy"]
    losses = [last_event(run)["val/loss"] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # the 180th row, repeated for an even share, counts once
    assert metrics(two)["cost"]["samples"] == metrics(one)["cost"]["samples"]
    left, right = (load_file(run / "checkpoints/train/last/model.safetensors") for run in (one, two))
    assert all(left[name].allclose(right[name], atol=1e-4) for name in left)


def test_a_part_without_a_gradient_is_no_hindrance(shell, tmp_path):
    """The task does not read the probes, though they are told to learn."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29572"]
    words = ["modalities=[text]", "strategy.stages.train.train=[encoder,fusion,head,probe]", "budget.steps=4"]
    command = [*torchrun, "-m", "mmrun", "train", *words, "trainer.device=cpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(metrics(next(tmp_path.glob("outputs/*/*")))["cost"]["stages"]) == ["train"]


def test_a_batch_that_does_not_divide_is_refused(shell, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    code, _, err = shell("train", *WORDS)
    assert code == 2
    assert err == "mmrun: trainer: batch_size and eval_batch_size must divide evenly over 3 processes\n"
