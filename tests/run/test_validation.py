from dataclasses import replace

import pytest

from mmrun.head import FUSED, Head
from mmrun.run.build_stage import build_stage
from mmrun.run.stage_checkpoints import StageCheckpoints
from mmrun.run.validation import LossValidation, MetricValidation, monitored_metrics
from mmrun.training.callback import CallbackList, NullCallback


def validations(session):
    built = build_stage(session, session.stages["train"])
    built.prepared.eval()
    checkpoints = StageCheckpoints(session, built)
    loss = LossValidation(session, built, checkpoints)
    return loss, MetricValidation(session, built, checkpoints, ["accuracy"])


def test_the_loss_and_the_metric_of_one_model(open_run):
    loss, metric = validations(open_run())
    value, losses = loss()
    assert value == losses["loss"] > 0
    accuracy, metrics = metric()
    assert accuracy == metrics["accuracy"]
    assert loss()[0] == value  # random masks are the same at each call


def test_curves_are_computed_where_they_are_monitored_or_requested(open_run):
    session = open_run()
    built = build_stage(session, session.stages["train"])
    built.prepared.eval()
    checkpoints = StageCheckpoints(session, built)

    def validate(session, name):
        return MetricValidation(session, built, checkpoints, [name])()[1]

    quick = validate(session, "accuracy")
    assert "auroc" not in quick
    every = validate(session, "auroc")
    assert every.keys() == {*quick, "auroc", "average_precision"}
    assert quick.items() <= every.items()
    asking = NullCallback()
    asking.requested_metrics = frozenset(["auroc"])
    listening = replace(session, callback=CallbackList([NullCallback(), asking]))
    assert validate(listening, "accuracy") == every


def test_what_is_monitored_has_a_name(open_run):
    session = open_run()
    assert monitored_metrics(session, "loss", [FUSED]) == []
    assert monitored_metrics(session, "primary_metric", [FUSED, Head("a")]) == ["accuracy", "accuracy/a"]
    assert monitored_metrics(session, "f1_macro", [FUSED]) == ["f1_macro"]


@pytest.mark.parametrize("average", ["ema_decay=null", "ema_decay=0.9", "interpolate=0.5"])
def test_validation_leaves_the_weights_as_they_are(open_run, average):
    session = open_run(f"strategy.stages.train.{average}")
    before = {name: tensor.clone() for name, tensor in session.model.state_dict().items()}
    for validate in validations(session):
        validate()
    assert all(tensor.equal(before[name]) for name, tensor in session.model.state_dict().items())
