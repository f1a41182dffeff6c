import json
import time
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


def torchrun(port):
    """Return the arguments of Python that start mmrun in two processes."""
    return [*("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)), "-m", "mmrun"]


def last_event(run):
    return json.loads((run / "log.jsonl").read_text().splitlines()[-1])


def test_two_processes_train_as_one_does(shell, fork_server, tmp_path):
    """Without batch statistics and random masks the weights agree to rounding, the figures exactly."""
    words = ["train", *WORDS]
    assert shell(*words, "outputs=one")[0] == 0
    done = fork_server.run(*torchrun(29571), *words, "outputs=two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("train/loss") == 1  # one process speaks
    one, two = (next(Path(name).glob("*/*")) for name in ("one", "two"))
    assert one.name == two.name
    assert metrics(two)["metrics"]["test"]["accuracy"] == metrics(one)["metrics"]["test"]["accuracy"]
    for loss in ("train/loss", "val/loss"):  # rows that are repeated for an even share count once
        assert last_event(two)[loss] == pytest.approx(last_event(one)[loss], rel=1e-5)
    assert metrics(two)["cost"]["samples"] == metrics(one)["cost"]["samples"]
    left, right = (load_file(run / "checkpoints/train/last/model.safetensors") for run in (one, two))
    assert all(left[name].allclose(right[name], atol=1e-4) for name in left)


def test_processes_and_micro_batches_are_weighed_by_their_visible_targets(shell, fork_server, tmp_path):
    """One row in ten has a target, so that their numbers differ."""
    words = ["train", *WORDS, "dataset.labelled=0.1", "strategy.stages.train.rows=all", "trainer.device=cpu"]
    assert shell(*words, "outputs=one")[0] == 0
    micro_batches = "strategy.stages.train.grad_accum_steps=4"
    command = [*torchrun(29585), *words, micro_batches, "outputs=two"]
    done = fork_server.run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = (next(Path(name).glob("*/*")) for name in ("one", "two"))
    for loss in ("train/loss", "val/loss"):
        assert last_event(two)[loss] == pytest.approx(last_event(one)[loss], rel=1e-4)
    left, right = (load_file(run / "checkpoints/train/last/model.safetensors") for run in (one, two))
    assert all(left[name].allclose(right[name], atol=1e-4) for name in left)


def test_a_part_without_a_gradient_is_no_hindrance(fork_server, tmp_path):
    """The task does not read the probes, though they are told to learn."""
    words = ["modalities=[text]", "strategy.stages.train.train=[encoder,fusion,head,probe]", "budget.steps=4"]
    command = [*torchrun(29572), "train", *words, "trainer.device=cpu"]
    done = fork_server.run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(metrics(next(tmp_path.glob("outputs/*/*")))["cost"]["stages"]) == ["train"]


def test_a_batch_that_does_not_divide_is_refused(shell, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    code, _, err = shell("train", *WORDS)
    assert code == 2
    assert err == "mmrun: trainer: batch_size and eval_batch_size must divide evenly over 3 processes\n"


def test_several_processes_have_several_clocks(shell, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = shell("train", "budget.seconds=1")
    assert code == 2
    assert err == (
        "mmrun: budget.seconds: several processes have several clocks; use epochs, steps, samples or flops\n"
    )


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
def test_a_run_goes_on_with_another_number_of_processes(shell, fork_server, tmp_path, first, then):
    """Rows are a function of the step, so that the weights are those of a run that was never stopped."""
    starts = {1: ["-m", "mmrun"], 2: torchrun(29573 + first)}
    words = [*WORDS, "trainer.device=cpu", "trainer.save_every=0", "trainer.evaluate_every=100"]
    process = fork_server.start(*starts[first], "train", *words, cwd=tmp_path)
    assert stopped_at(process, tmp_path, step=3), "the run ended before it was stopped"
    (run,) = tmp_path.glob("outputs/*/*")
    done = fork_server.run(*starts[then], "resume", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("train: resumes after step") == 1
    assert shell("train", *words, "outputs=whole")[0] == 0
    (whole,) = tmp_path.glob("whole/*/*")
    left, right = (load_file(folder / "checkpoints/train/last/model.safetensors") for folder in (run, whole))
    assert all(left[name].allclose(right[name], atol=1e-4) for name in left)


def stopped_at(process, folder, step):
    """Stop a run once a checkpoint of this step stands."""
    while process.poll() is None:
        for file in folder.glob("outputs/*/*/checkpoints/train/last/state.json"):
            try:
                state = json.loads(file.read_text())
            except FileNotFoundError:
                continue  # just being replaced
            if not state["finished"] and state["state"]["step"] >= step:
                process.terminate()
                process.wait()
                return True
        time.sleep(0.001)
    return False


BREAK_ONCE = """
import math, os, sys
import torch
from mmrun.cli import main
from mmrun.training.learner import Learner

forward, calls = Learner.forward, []

def forward_with_nan(self, batch):
    losses = forward(self, batch)
    if self.training and torch.is_grad_enabled():
        calls.append(1)
        if len(calls) == 4 and os.environ.get("RANK", "1") == "1":  # the first pass counts operations
            return {**losses, "loss": losses["loss"] * math.nan}
    return losses

Learner.forward = forward_with_nan
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("policy", "port"), [("stop", 29577), ("skip", 29578), ("rollback", 29579)])
def test_a_loss_that_is_nan_in_one_process_counts_for_both(fork_server, tmp_path, policy, port):
    """They skip or go back together: the weights are those of one process that meets the NaN at the same step."""
    (tmp_path / "broken.py").write_text(BREAK_ONCE)
    words = [
        *("train", "dataset=synthetic", "dataset.num_rows=60", "modalities=[a,b]", "encoder.a.dims=[8]"),
        *("encoder.b.dims=[8]", "fusion.dim=4", "budget.steps=6", "trainer.batch_size=16", "trainer.device=cpu"),
        *("encoder.a.dropout=0", "encoder.b.dropout=0", "encoder.a.cell_dropout=0", "encoder.b.cell_dropout=0"),
        *("trainer.cache_features=false", "trainer.eval_batch_size=16", f"trainer.on_nan={policy}"),
    ]
    launchers = {"one": [], "two": torchrun(port)[:-2]}
    weights = []
    for name, launcher in launchers.items():
        done = fork_server.run(*launcher, "broken.py", *words, f"outputs={name}", cwd=tmp_path)
        (folder,) = tmp_path.glob(f"{name}/*/*")
        reason = "the loss is nan at step 3, though every modality is finite (batch of row"
        if policy == "stop":
            assert done.returncode == 1
            status = json.loads((folder / "status.json").read_text())
            assert status["status"] == "failed"
            assert reason in status["message"]
            continue
        assert done.returncode == 0, done.stderr
        assert " ".join(done.stderr.split()).count(reason) == 1
        weights.append(load_file(folder / "checkpoints/train/last/model.safetensors"))
    for name in weights[0] if weights else ():
        assert weights[0][name].allclose(weights[1][name], atol=1e-4)
