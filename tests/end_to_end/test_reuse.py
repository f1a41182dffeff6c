from pathlib import Path

import pytest

from tests.end_to_end.conftest import FEW, metrics, weights

PRETRAINED = ["pretrain-image", "pretrain-text"]


def reused(folder):
    return [name for name, stage in metrics(folder)["cost"]["stages"].items() if stage["reused"]]


def counted(folder):
    """The costs that are counted, not timed."""
    stages = metrics(folder)["cost"]["stages"]
    return {name: [stage[key] for key in ("steps", "samples", "flops", "epochs")] for name, stage in stages.items()}


@pytest.mark.usefixtures("few_digits")
def test_a_second_run_loads_what_the_first_one_trained_and_pays_for_it(shell):
    first = shell.train("strategy=component", "fusion=concat")
    alone = shell.train("strategy=component", "fusion=gated", "cache=other", "outputs=alone")
    second = shell.train("strategy=component", "fusion=gated")
    assert (reused(first), reused(alone), reused(second)) == ([], [], PRETRAINED)
    assert weights(second).keys() == weights(alone).keys()
    kept = [name for name in weights(alone) if name.parts[1] == "finetune" or name.parts[2] == "best"]
    assert all(weights(second)[name] == weights(alone)[name] for name in kept)
    assert metrics(second)["metrics"] == metrics(alone)["metrics"]
    assert counted(second) == counted(alone)


def test_whatever_changes_a_result_is_not_reused(shell):
    shell.train("strategy=component")
    for words in (
        ["seed=1"],
        ["optimizer.lr=1e-4"],
        ["encoder.image.kernels=[3,3,3,3]", "encoder.text=textcnn"],
        ["dataset.image_noise=0.1", "dataset.text_wrong=0.1"],
        ["strategy.stages.pretrain.objective.by_kind.image.ratio=0.1", "strategy.stages.pretrain.rows=labelled",
         "dataset.labelled=0.5"],
        ["budget.epochs=0.4"],
        ["trainer.batch_size=32"],
        ["trainer.group_by_length=true"],
    ):  # fmt: skip
        assert reused(shell.train("strategy=component", *words)) == [], words
    assert reused(shell.train("strategy=component", "encoder.image=cnn")) == ["pretrain-text"]
    assert reused(shell.train("strategy=component", "strategy.stages.finetune.lr=1e-4")) == PRETRAINED


@pytest.mark.usefixtures("few_digits")
def test_reuse_can_be_switched_off(shell):
    shell.train("strategy=component", "strategy.stages.pretrain.reuse=false")
    assert reused(shell.train("strategy=component", "fusion=gated")) == []


@pytest.mark.usefixtures("few_digits")
def test_two_processes_at_once_train_a_stage_once(shell, fork_server):
    processes = []
    for fusion in ("concat", "gated"):
        words = ["train", "strategy=component", *FEW, f"fusion={fusion}"]
        processes.append(fork_server.start("-m", "mmrun", *words, cwd=Path.cwd()))
    assert [process.wait() for process in processes] == [0, 0]
    folders = Path("outputs").glob("*/*component*")
    assert sorted(name for folder in folders for name in reused(folder)) == PRETRAINED


def test_the_cache_can_be_seen_verified_and_cleared(shell):
    shell.train("strategy=component")
    code, out, _ = shell("cache", "ls")
    assert code == 0
    assert "pretrain-image" in out
    assert out.splitlines()[-1].split(":")[1].startswith(" 2 entries")
    assert shell("cache", "verify")[:2] == (0, "2 of 2 entries are intact\n")
    assert shell("cache", "clear", "--older", "1h")[1].split(": ")[1] == "removed 0 entries, 0 B\n"
    file = next(Path("cache/stages").glob("*/model.safetensors"))
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-9])
    code, out, _ = shell("cache", "verify")
    assert code == 1
    assert f"{file}: damaged, {size - 9:,} bytes where {size:,} were written; the next run that needs it" in out
    assert shell("cache", "clear")[0] == 0
    assert list(Path("cache/stages").glob("*/")) == []


def test_an_age_that_is_none_is_refused(shell):
    assert shell("cache", "clear", "--older", "soon")[::2] == (
        2,
        "mmrun: --older soon: not an age; write for example 12h, 30d or 8w\n",
    )
