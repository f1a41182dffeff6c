"""Overrides that cannot mean anything are rejected before anything is composed; fixtures hold many more."""

import pytest

from mmrun.errors import ConfigError
from mmrun.overrides import check_number_of_runs, check_overrides, check_single_run, reject_intervals


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("=1", "=1: has no key; write key=value"),
        ("choices.fusion=sum", "choices.fusion=sum: a run fills in this key itself; leave it out"),
        ("encoder=lenet", "encoder=lenet: each modality has its own encoder; write encoder.MODALITY=NAME"),
        ("objective=mixup", "objective=mixup: no key of a run; write strategy.stages.STAGE.objective=NAME"),
        (
            "pretext.text=moco",
            "pretext.text=moco: no key of a run; write strategy.stages.STAGE.objective.by_kind.KIND=NAME",
        ),
        (
            "pretext/text=moco",
            "pretext/text=moco: no key of a run; write strategy.stages.STAGE.objective.by_kind.KIND=NAME",
        ),
        ("+fusion=sum", "+fusion=sum: every run has this key; leave out the +"),
        ("~seed", "~seed: every run has this key; leave it out, or set it to another value"),
        (
            "~encoder.image",
            "~encoder.image: every modality needs an encoder; list the modalities to keep: modalities=[A,B]",
        ),
        (
            "hydra.run.dir=x",
            "hydra.run.dir=x: mmrun does not use this key of Hydra; set outputs=DIR, the folder of the run folders",
        ),
        ("fusion={ }", "fusion={ }: merging an empty mapping changes nothing; ~fusion.KEY removes a key"),
        ("a=" + "[" * 33 + "]" * 33, "a=" + "[" * 33 + "]" * 33 + ": has 33 brackets inside each other, more than 32"),
    ],
)
def test_what_cannot_mean_anything_is_rejected(override, message):
    with pytest.raises(ConfigError) as caught:
        check_overrides(["seed=1", override])
    assert str(caught.value) == message


def test_a_long_override_is_cut_in_its_error():
    with pytest.raises(ConfigError, match=r"^seed=1{55}\.\.\.: has 5,005 characters, more than 4,096; "):
        check_overrides(["seed=" + "1" * 5000])


def test_several_values_need_a_sweep():
    check_single_run(["seed=1", "modalities=[image,text]"])
    with pytest.raises(ConfigError, match=r"^seed=1,2: several values are a sweep of runs; add -m$"):
        check_single_run(["seed=1,2"])
    with pytest.raises(ConfigError, match=r"^sweep=tpe: only applies to a sweep; add -m$"):
        check_single_run(["sweep=tpe"])


def test_a_sweep_has_at_least_one_run_and_no_more_than_anyone_means():
    check_number_of_runs(["seed=range(10000)"])
    with pytest.raises(ConfigError, match=r"^20,000 runs are more than a sweep may have \(10,000\)$"):
        check_number_of_runs(["seed=range(10000)", "fusion=sum,mean"])


def test_only_a_search_draws_from_an_interval():
    with pytest.raises(ConfigError, match=r"only a search can draw from an interval"):
        reject_intervals(["optimizer.lr=interval(0.1,1)"])
