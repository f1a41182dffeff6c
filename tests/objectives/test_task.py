import pytest
import torch
from five_kinds import KINDS, TASKS, batch, model

from mmrun.errors import ConfigError
from mmrun.objectives.task import Probe, Task

AGE = {"age": TASKS["age"]}


def test_the_loss_is_the_weighted_sum_of_the_tasks():
    losses = Task(TASKS, weights={"age": 0.5})(model("photo"), batch("photo"))
    assert set(losses) == {"loss", "loss/label", "loss/age"}
    assert losses["loss"].item() == pytest.approx(losses["loss/label"].item() + 0.5 * losses["loss/age"].item())


def test_rows_whose_target_is_hidden_do_not_count():
    learner, data = model("photo"), batch("photo")
    whole = Task(TASKS)(learner, data)
    shown = learner(data)["label"][:5]
    data.targets["label"][5:] = -100
    losses = Task(TASKS)(learner, data)
    assert losses["loss/age"].item() == whole["loss/age"].item()
    assert losses["loss/label"].item() == pytest.approx(TASKS["label"].loss(shown, data.targets["label"][:5]).item())


def test_label_smoothing_and_balance_reach_the_classification():
    learner, data = model("photo"), batch("photo")
    plain, smooth, balanced = (
        Task(TASKS, **given)(learner, data) for given in ({}, {"label_smoothing": 0.3}, {"balanced": True})
    )
    assert plain["loss/age"].item() == smooth["loss/age"].item() == balanced["loss/age"].item()
    output, target = learner(data)["label"], data.targets["label"]
    assert smooth["loss/label"].item() == TASKS["label"].loss(output, target, label_smoothing=0.3).item()
    assert balanced["loss/label"].item() == TASKS["label"].loss(output, target, balanced=True).item()


def test_what_no_task_can_do_is_refused():
    with pytest.raises(ConfigError) as caught:
        Task(AGE, label_smoothing=0.1)
    assert str(caught.value) == "objective.label_smoothing: no task is a classification (there are age); leave it out"
    with pytest.raises(ConfigError) as caught:
        Probe(AGE, KINDS, balanced=True)
    assert str(caught.value) == "objective.balanced: no task is a classification (there are age); leave it out"
    with pytest.raises(ConfigError) as caught:
        Task(TASKS, weights={"lable": 2.0})
    assert str(caught.value) == "objective.weights.lable: no such task; did you mean 'label'? (there are label, age)"


def test_the_task_teaches_encoder_fusion_and_head_but_no_probe():
    learner = model("photo", "cells")
    Task(TASKS)(learner, batch("photo", "cells"))["loss"].backward()
    silent = {name.split(".")[0] for name, p in learner.named_parameters() if p.grad is None}
    assert silent == {"probe"}


def test_a_probe_teaches_the_encoders_in_scope_and_their_probes_only():
    learner, data = model("photo", "cells"), batch("photo", "cells")
    losses = Probe(TASKS, ["cells"])(learner, data)
    losses["loss"].backward()
    taught = {".".join(name.split(".")[:2]) for name, p in learner.named_parameters() if p.grad is not None}
    assert taught == {"encoder.cells", "probe.cells"}
    assert set(losses) == {"loss", "loss/cells"}


def test_a_probe_counts_the_rows_that_have_the_modality():
    learner, data = model("photo"), batch("photo")
    data.present["photo"][4:] = False
    four = batch("photo")
    expected = sum(
        task.loss(learner.unimodal(four, "photo")[name][:4], four.targets[name][:4]) for name, task in TASKS.items()
    )
    assert Probe(TASKS, ["photo"])(learner, data)["loss"].item() == pytest.approx(expected.item())
    assert torch.equal(data.targets["label"], four.targets["label"])
