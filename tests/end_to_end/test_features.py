"""A stage whose encoders are frozen computes their features once."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.end_to_end.conftest import FEW, metrics

pytestmark = pytest.mark.usefixtures("few_digits")

WORDS = ["strategy=frozen", "dataset.labelled=0.1", "budget.epochs=0.4", "trainer.evaluate_every=0.1"]
ROWS, STEPS = 20, 10  # of 8 rows


def costs(folder):
    return metrics(folder)["cost"]["stages"]["train"]


def kept(parts="pooled"):
    """The modalities whose features are kept, with these parts."""
    told = [json.loads(file.read_text())["about"] for file in Path("cache/features").glob("*/meta.json")]
    return sorted(about.split(",")[0] for about in told if about.split(" rows, ")[1] == parts)


def log(folder):
    """The figures in the log, without speed and costs."""
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    kinds = ("train/", "val/", "gradient/", "conflict/")
    return [{name: value for name, value in event.items() if name.startswith(kinds)} for event in events]


def figures(folder):
    return np.array([list(figures.values()) for figures in metrics(folder)["metrics"].values()], dtype=float)


@pytest.mark.parametrize(
    "words",
    [
        ["fusion=concat"],
        ["fusion=attention", "encoder.text=transformer"],  # which reads tokens
        ["strategy.stages.train.objective=modality_dropout", "trainer.log_modality_gradients=true"],
        ["strategy.stages.train.objective=probe", "strategy.stages.train.train=[probe]"],
        ["strategy.stages.train.train=[fusion,head,encoder.image]"],  # one encoder learns
        ["strategy.stages.train.grad_accum_steps=2", "strategy.stages.train.rows=bootstrap"],
        ["trainer.precision=bf16"],
    ],
)
def test_it_learns_the_same(shell, words):
    once, again = (shell.train(*WORDS, *words, f"trainer.cache_features={on}") for on in ("true", "false"))
    assert costs(once)["features"]["modalities"][-1] == "text"
    assert costs(again)["features"] is None
    exact = "bf16" not in words[0]
    np.testing.assert_allclose(figures(once), figures(again), atol=1e-5 if exact else 1e-2)
    for one, other in zip(log(once), log(again), strict=True):
        assert one == pytest.approx(other, rel=1e-4 if exact else 2e-2, abs=1e-5)
    left, right = (load_file(folder / "checkpoints/train/last/model.safetensors") for folder in (once, again))
    frozen = [name for name in left if name.startswith("encoder.text.")]
    assert frozen
    assert all(left[name].equal(right[name]) for name in frozen)
    if exact:
        assert all(left[name].allclose(right[name], atol=1e-4) for name in left)


def test_it_says_so_charges_it_once_and_keeps_the_allowance(shell):
    code, _, said = shell("train", *FEW, *WORDS)
    assert code == 0
    assert "train: features of image, text computed once (44 rows, 0.0 MB)" in " ".join(said.split())
    assert kept() == ["image", "text"]
    [once] = Path("outputs").glob("*/*")
    again = shell.train(*WORDS, "trainer.cache_features=false")
    assert costs(once)["steps"] == costs(again)["steps"] == STEPS
    spent = costs(once)["features"]
    assert spent["modalities"] == ["image", "text"]
    assert spent["rows"] == ROWS  # of training; validation is charged nowhere
    assert costs(once)["seconds"] > spent["seconds"] > 0
    of_a_step = (costs(once)["flops"] - spent["flops"]) / STEPS
    assert of_a_step * STEPS + spent["flops"] * STEPS * 8 / ROWS == pytest.approx(costs(again)["flops"])


def test_a_flops_budget_buys_as_many_steps(shell):
    words = [*WORDS, "budget.epochs=null", "budget.flops=3e8"]
    once, again = (shell.train(*words, f"trainer.cache_features={on}") for on in ("true", "false"))
    assert costs(once)["features"] is not None
    assert costs(once)["steps"] == costs(again)["steps"]
    assert costs(once)["flops"] < costs(again)["flops"]


def test_runs_that_differ_elsewhere_share_them(shell):
    first = shell.train(*WORDS)
    code, out, said = shell("train", *FEW, *WORDS, "fusion=gated", "optimizer.lr=1e-4")
    assert code == 0
    assert "features of image, text computed by an earlier run" in " ".join(said.split())
    assert costs(Path(out.split()[-1]))["features"] == costs(first)["features"]  # who finds them pays as well
    shell.train(*WORDS, "seed=1")  # other weights
    shell.train(*WORDS, "trainer.precision=bf16")
    shell.train(*WORDS, "dataset.split_seed=1")  # other rows
    assert kept() == ["image"] * 4 + ["text"] * 4


@pytest.mark.parametrize(
    "words",
    [
        ["strategy=holistic"],  # nothing is frozen
        ["budget.epochs=0.1"],  # no row is read twice
        ["budget.epochs=null", "budget.seconds=0.5"],  # nobody knows
        ["strategy.stages.train.objective=joint_self_supervised"],  # which spoils the inputs
    ],
)
def test_where_it_does_not_fit_inputs_are_read(shell, words):
    stages = metrics(shell.train(*WORDS, *words))["cost"]["stages"]
    assert [stage["features"] for stage in stages.values()] == [None] * len(stages)
    assert kept() == []


def test_what_does_not_fit_on_the_disk_is_not_kept(shell):
    code, out, said = shell("train", *FEW, *WORDS, "cache_limit=0.00001")
    assert code == 0
    assert "train: features of text would take 0.0 MB, so they are not stored" in " ".join(said.split())
    assert costs(Path(out.split()[-1]))["features"]["modalities"] == ["image"]


def test_a_reused_stage_is_asked_for_by_whether_it_read_features(shell):
    words = [*WORDS, "strategy.stages.train.reuse=true"]
    assert not costs(shell.train(*words))["reused"]
    assert not costs(shell.train(*words, "trainer.cache_features=false"))["reused"]
    again = costs(shell.train(*words, "outputs=other"))
    assert again["reused"]
    assert again["features"]["modalities"] == ["image", "text"]


def test_a_run_that_was_interrupted_goes_on_to_the_same_bits(shell, monkeypatch):
    whole = shell.train(*WORDS, "outputs=whole", "cache=other")
    from mmrun.run.stage_checkpoints import StageCheckpoints

    def interrupted(self, state):
        if state.step == 4:
            self.save(state)
        if state.step >= 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StageCheckpoints, "on_checkpoint", interrupted)
        assert shell("train", *FEW, *WORDS)[0] == 130
    assert shell("cache", "clear")[0] == 0  # they are computed again
    [folder] = Path("outputs").glob("*/*")
    assert shell("resume", folder)[0] == 0
    assert metrics(folder)["metrics"] == metrics(whole)["metrics"]
    name = "checkpoints/train/last/model.safetensors"
    assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_of_two_processes_one_computes(shell, fork_server):
    processes = []
    for fusion in ("concat", "gated"):
        words = ["train", *FEW, *WORDS, f"fusion={fusion}"]
        processes.append(fork_server.start("-m", "mmrun", *words, cwd=Path.cwd()))
    assert [process.wait() for process in processes] == [0, 0]
    one, other = Path("outputs").glob("*/*")
    assert costs(one)["features"] == costs(other)["features"]  # the seconds, too
    assert kept() == ["image", "text"]


def test_the_cache_shows_verifies_and_clears_them(shell):
    shell.train(*WORDS)
    _, out, _ = shell("cache", "ls")
    assert sorted(re.findall(r"feature .*?  (\w+, 44 rows, pooled)", out)) == [
        "image, 44 rows, pooled",
        "text, 44 rows, pooled",
    ]
    assert shell("cache", "verify")[:2] == (0, "4 of 4 entries are intact\n")  # with images and digests
    file = next(Path("cache/features").glob("*/pooled.npy"))
    file.write_bytes(file.read_bytes()[:-9])
    assert shell("cache", "verify")[0] == 1
    assert shell("cache", "clear")[0] == 0
    assert kept() == []
