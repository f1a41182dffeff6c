import json

import numpy as np
import pytest
import torch

from mmrun import compose
from mmrun.errors import ConfigError
from mmrun.head import FUSED
from mmrun.objectives.task import Task
from mmrun.run import build, checks
from mmrun.run.data import open_data


def test_each_part_draws_its_weights_from_a_stream_of_its_own(load):
    """Another fusion, or another encoder of b, leaves the weights of encoder a as they are."""
    weights = []
    for override in ("fusion=concat", "fusion=gated", "encoder.b.dims=[16,4]"):
        config = load(override)
        weights.append(build.build_model(config, open_data(config)).encoder["a"].state_dict())
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in weights[0])


def test_stages_know_what_they_train(load):
    config = load("strategy=component")
    stages = build.resolve_stages(config, build.build_model(config, open_data(config)))
    assert list(stages) == ["pretrain-a", "pretrain-b", "finetune"]
    assert stages["pretrain-a"].trained_encoders == {"a"}
    assert (stages["pretrain-a"].heads, stages["finetune"].heads) == ([], [FUSED])
    assert [build.uses_balance(stage) for stage in stages.values()] == [False, False, True]


def test_a_metric_cannot_be_monitored_without_a_head(load):
    with pytest.raises(ConfigError) as raised:
        checks.check(load("strategy.stages.train.train=[encoder]"))
    assert str(raised.value) == (
        "strategy.stages.train.monitor: primary_metric needs a head or probe that this stage trains; "
        "set it to loss, or add head to its train list"
    )


def test_a_stage_that_learns_from_targets_needs_rows_that_have_some(load):
    with pytest.raises(ConfigError) as raised:
        checks.check(
            load("strategy=probe_then_finetune", "strategy.stages.finetune.rows=unlabelled", "dataset.labelled=0.5")
        )
    assert str(raised.value) == (
        "strategy.stages.finetune.rows: unlabelled rows have no target, and Task learns from targets alone; "
        "set it to labelled, or choose an objective that needs none (pseudo_label, self_supervised ...)"
    )


def test_pseudo_labels_need_no_targets(load):
    words = ("strategy.stages.pseudo_label.rows=unlabelled", "dataset.labelled=0.5", "budget.steps=10")
    checks.check(load("strategy=pseudo_label", *words))


def test_gradient_blending_needs_labelled_rows_to_hold_out(load):
    with pytest.raises(ConfigError) as raised:
        checks.check(load("balance=gradient_blending", "dataset.shots=1"))
    assert str(raised.value) == (
        "balance.held_out: 0.1 of the 2 labelled rows of stage train is no row, as one of each class stays in "
        "training; label more rows, raise it, or choose another balance"
    )


def test_held_out_rows_are_labelled_rows_of_the_stage(load):
    config = load("balance=gradient_blending", "dataset.labelled=0.5")
    data = open_data(config)
    model = build.build_model(config, data)
    stage = build.resolve_stages(config, model)["train"]
    rows = build.build_objective(config, stage, data, model).is_held_out.nonzero().flatten().numpy()
    assert len(rows) == round(0.1 * len(data.rows["labelled"]))
    assert np.isin(rows, data.rows["labelled"]).all()


def test_a_balance_cannot_wrap_an_objective_that_computes_its_gradients(load, monkeypatch):
    monkeypatch.setattr(Task, "backward", lambda self, model, losses, scale: None)
    with pytest.raises(ConfigError) as raised:
        checks.check(load("balance=agm"))
    assert str(raised.value) == (
        "strategy.stages.train.objective: Task computes its gradients itself, so that no balance can change them; "
        "drop balance, or choose another objective"
    )


@pytest.mark.parametrize("fusion", ["pdf", "qmf", "mla", "mmcosine"])
def test_fusions_of_classes_refuse_numbers_before_anything_is_decoded(tmp_path, fusion):
    lines = [json.dumps({"age": row, "place": [row, row / 2]}) for row in range(40)]
    (tmp_path / "table.jsonl").write_text("\n".join(lines))
    config = compose.load([f"dataset={tmp_path}/table.jsonl", "dataset.target=place", f"fusion={fusion}"])
    with pytest.raises(ConfigError) as raised:
        checks.check(config)
    assert str(raised.value).endswith(
        " fuses logits of classes or labels, and 'place' is a regression; choose another fusion"
    )
