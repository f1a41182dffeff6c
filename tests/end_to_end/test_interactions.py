"""What a fusion must and cannot do where the information is known: pure synergy, and pure redundancy."""

from statistics import mean

import pytest

from mmrun import compose
from mmrun.evaluation import evaluate
from mmrun.run.opening import reopen
from mmrun.run.pipeline import run
from mmrun.training.callback import NullCallback

QUICK = ["optimizer.lr=5e-3", "trainer.progress=false"]
SYNERGY = ["dataset=synthetic", "dataset.redundancy=0", "dataset.uniqueness=0", "dataset.synergy=1"]
REDUNDANCY = ["dataset=synthetic", "dataset.redundancy=1", "dataset.uniqueness=0", "dataset.synergy=0"]


def trained(folder, *words):
    return run(compose.load([*QUICK, *words, f"outputs={folder}", f"cache={folder}/cache"]), NullCallback())


def accuracy(folder, *words):
    """The mean of three seeds."""
    runs = [trained(folder, *SYNERGY, *words, f"seed={seed}") for seed in range(3)]
    return mean(one.read_metrics()["metrics"]["test"]["accuracy"] for one in runs)


@pytest.mark.parametrize("fusion", ["concat", "attention", "tensor"])
def test_exclusive_or_is_learned_by_a_fusion_that_sees_both(tmp_path, fusion):
    assert accuracy(tmp_path, f"fusion={fusion}", "budget.epochs=4") >= 0.95


def test_exclusive_or_is_beyond_a_sum_of_opinions(tmp_path):
    assert accuracy(tmp_path, "fusion=late", "budget.epochs=4") <= 0.6


def test_what_is_redundant_can_go_at_no_cost(tmp_path):
    folder = trained(tmp_path, *REDUNDANCY, "strategy=modality_dropout", "budget.epochs=3")
    found = evaluate(reopen(folder, NullCallback()))
    whole = folder.read_metrics()["metrics"]["test"]["accuracy"]
    assert whole >= 0.98
    for one in found["missing"]["absent"]:
        assert one["metrics"]["accuracy"] >= whole - 0.02 or one["present"] == []
