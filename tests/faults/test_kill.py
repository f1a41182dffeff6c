"""A run killed in the middle of a stage and gone on with, against one left alone (`scripts/bench kill` tries many)."""

import json
import time

import pytest

from mmrun.cli import main

WORDS = [
    "strategy=component", "modalities=[image,text]", "encoder.image=lenet", "budget.epochs=2", "trainer.save_every=0",
    "trainer.evaluate_every=0.3", "strategy.stages.finetune.ema_decay=0.9",
]  # fmt: skip


def train(folder):
    return ["-m", "mmrun", "train", *WORDS, f"cache={folder}/cache"]


def result(folder):
    """All that may not differ: weights, figures, and the log less its seconds and speeds."""
    metrics = json.loads((folder / "metrics.json").read_text())
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return (
        {p.relative_to(folder): p.read_bytes() for p in folder.glob("checkpoints/*/*/model.safetensors")},
        [metrics["metrics"], metrics["per_class"], metrics["cost"]["flops"]],
        [{k: value for k, value in event.items() if k != "seconds" and not k.startswith("speed/")} for event in events],
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory, fork_server):
    """The result of the run that was left alone."""
    folder = tmp_path_factory.mktemp("whole")
    assert fork_server.run(*train(folder), cwd=folder).returncode == 0
    return result(next(folder.glob("outputs/*/*")))


def kill_at(fork_server, folder, stage, step):
    """Start the run, and kill it once a checkpoint of this stage and step stands."""
    process = fork_server.start(*train(folder), cwd=folder)
    while process.poll() is None:
        for file in folder.glob(f"outputs/*/*/checkpoints/{stage}/last/state.json"):
            try:
                state = json.loads(file.read_text())
            except FileNotFoundError:
                continue  # just being replaced
            if not state["finished"] and state["state"]["step"] >= step:
                process.kill()
                process.wait()
                return next(folder.glob("outputs/*/*"))
        time.sleep(0.001)
    raise AssertionError("the run ended before it was killed")


@pytest.mark.parametrize("moments", [[("pretrain-text", 3)], [("pretrain-image", 1), ("finetune", 5)]])
def test_a_killed_run_ends_as_if_it_had_never_stopped(fork_server, tmp_path, whole, moments):
    for stage, step in moments:
        folder = kill_at(fork_server, tmp_path, stage, step)
        assert not (folder / "metrics.json").exists()
    assert fork_server.run("-m", "mmrun", "resume", folder, cwd=tmp_path).returncode == 0
    assert result(folder) == whole


def test_a_damaged_checkpoint_is_named_and_the_result_is_the_same(fork_server, tmp_path, monkeypatch, capsys, whole):
    folder = kill_at(fork_server, tmp_path, "pretrain-image", 2)
    file = folder / "checkpoints/pretrain-image/last/learner.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    monkeypatch.chdir(tmp_path)
    assert main(["resume", str(folder)]) == 0
    said = capsys.readouterr().err
    assert f"{file}: damaged, " in said
    assert "pretrain-image continues from the checkpoint before it" in said
    assert result(folder) == whole
