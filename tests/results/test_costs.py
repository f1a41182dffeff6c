"""Costs that several fusions share."""

import pytest

from mmrun.errors import ConfigError
from mmrun.results.costs import find_shared_stages
from tests.results.compared import compare
from tests.results.compared import outputs as outputs
from tests.results.fabricate import finished, rewrite, stage_cost


def test_stages_that_train_encoders_alone_are_shared_by_several_fusions(outputs):
    base = {"epochs": 10.0, "seconds": 10.0, "flops": 1e12, "samples": 100}
    half = {key: value / 2 for key, value in base.items()}
    dear = {"epochs": 6.0, "seconds": 12.0, "flops": 3e12, "samples": 60}
    finished(outputs, 0.5, "scratch")
    run = finished(outputs, 0.6, "component")
    rewrite(finished(outputs, 0.5, "scratch", seed=1), cost__stages={"train": stage_cost(**base)})
    stages = {"pretrain-image": stage_cost(**half), "pretrain": stage_cost(**dear), "train": stage_cost(**half)}
    rewrite(run, cost__stages=stages, cost__epochs=16.0, cost__seconds=22.0, cost__flops=4e12, cost__samples=160)
    options = {"by": ["strategy"], "metric": "test/accuracy", "against": "scratch"}
    full, shared = (compare([outputs], **options, amortise=fusions).rows[1] for fusions in (1, 4))
    assert (full.cost["epochs"], full.cost["seconds"]) == (16.0, 22.0)
    assert (shared.cost["epochs"], shared.cost["seconds"], shared.cost["flops"]) == (
        *(5 + 11 / 4, 5 + 17 / 4),
        5e11 + 3.5e12 / 4,
    )
    assert shared.cost["peak_memory"] == full.cost["peak_memory"]
    # scratch costs 10 epochs, 10 s, 1.5 TFLOP: 5 + 11 / k < 10 from k = 3, 5 + 17 / k from 4, 0.5 + 3.5 / k from 4
    assert full.break_even == shared.break_even == {"epochs": 3, "seconds": 4, "flops": 4}
    assert compare([outputs], ["strategy"], "test/accuracy", "component").rows[1].break_even == {
        "epochs": 1,
        "seconds": 1,
        "flops": 1,
    }


def test_stages_after_or_without_a_fusion_are_not_shared(outputs):
    run = finished(outputs, 0.5, "component")
    base = run.read_metrics() | {"folder": run.path}
    costs = {"pretrain-image": {}, "pretrain-images": {}, "train": {}}

    def shared(**stages):
        base["config"]["strategy"]["stages"] = {name: {"train": train} for name, train in stages.items()}
        return find_shared_stages(base | {"cost": {"stages": costs}})

    assert shared(pretrain=["encoder.{modality}"], train=["fusion"]) == ["pretrain-image"]
    assert shared(train=["fusion"], pretrain=["encoder.{modality}"]) == []
    assert shared(pretrain=["encoder.{modality}"]) == []
    assert shared(pretrain=["encoder", "fusion"], train=["head"]) == []
    assert shared(pretrain=["*"], train=["head"]) == []


def test_amortise_must_be_at_least_one(outputs):
    finished(outputs, 0.5)
    with pytest.raises(ConfigError, match=r"^--amortise: 0 is not a number of fusions; 1 charges everything to one$"):
        compare([outputs], ["strategy"], "test/accuracy", amortise=0)
