from dataclasses import replace

import pytest

from mmrun.run.build_stage import build_stage
from mmrun.run.stage_reuse import stage_key
from mmrun.training import device


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("trainer.progress=true", True),
        ("trainer.save_every=5", True),
        ("trainer.evaluate_every=2", False),
        ("strategy.stages.train.lr=0.5", False),
        ("strategy.stages.train.max_grad_norm=1", False),
        ("dataset.labelled=0.5", False),
        ("callbacks=early_stopping", False),
        ("seed=1", False),
    ],
)
def test_the_key_of_a_result_holds_what_decides_it(open_run, override, same):
    keys = []
    for name, overrides in (("first", []), ("second", [override])):
        session = open_run(*overrides, name=name)
        keys.append(stage_key(session, build_stage(session, session.stages["train"])))
    assert (keys[0] == keys[1]) is same


def test_hidden_targets_decide_only_the_stages_that_read_targets(open_run):
    """Both stages see all rows, of which a tenth or half have a label."""
    keys = []
    for share in (0.1, 0.5):
        words = ["strategy=component", "strategy.stages.finetune.rows=all", f"dataset.labelled={share}"]
        session = open_run(*words, name=str(share))
        stages = [build_stage(session, session.stages[name]) for name in ("pretrain-a", "finetune")]
        assert [bool(built.batches.targets) for built in stages] == [False, True]
        keys.append([stage_key(session, built) for built in stages])
    (pretrained, tuned), (again, tuned_on_more) = keys
    assert pretrained == again
    assert tuned != tuned_on_more


def test_the_values_of_targets_decide_the_result(open_run):
    session = open_run()
    targets = session.data.table.targets
    before = stage_key(session, build_stage(session, session.stages["train"]))
    targets["label"] = replace(targets["label"], values=targets["label"].values[::-1].copy())
    assert stage_key(session, build_stage(session, session.stages["train"])) != before


def test_the_model_of_the_device_decides_the_result(open_run, monkeypatch):
    keys = []
    for model in ("NVIDIA H100", "NVIDIA A100"):
        monkeypatch.setattr(device, "model_name", lambda _, model=model: model)
        session = open_run(name=model)
        keys.append(stage_key(session, build_stage(session, session.stages["train"])))
    assert keys[0] != keys[1]
