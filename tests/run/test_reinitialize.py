"""Stages whose parameters start from new initial weights."""

import pytest
import torch

from mmrun.run.build_stage import build_stage
from mmrun.run.pipeline import run
from mmrun.run.stage import run_stage
from mmrun.run.stage_checkpoints import load_stage_weights
from mmrun.run.stage_reuse import stage_key
from mmrun.training.callback import NullCallback


@pytest.fixture
def open_taught(open_run):
    """Open a tiny run of strategy distill whose first stage is trained."""

    def open_after_teaching(*overrides, name="run"):
        session = open_run("strategy=distill", "trainer.save_every=0", *overrides, name=name)
        run_stage(session, build_stage(session, session.stages["teach"]))
        load_stage_weights(session, session.stages["teach"])
        return session

    return open_after_teaching


def clone_weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def soft_gradient(learner, batch):
    """Return the sum of the absolute gradients of the loss to the teacher, without dropout."""
    trainable = [parameter for parameter in learner.model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(learner.eval()(batch)["loss/soft"], trainable, allow_unused=True)
    return sum(gradient.abs().sum().item() for gradient in gradients if gradient is not None)


def test_a_student_starts_anew_and_learns_from_its_former_self(open_taught):
    session = open_taught()
    taught = clone_weights(session.model)
    built = build_stage(session, session.stages["distill"])
    teacher = built.learner.objective.teacher.model.state_dict()
    assert all(torch.equal(teacher[name], taught[name]) for name in taught)
    student = session.model.state_dict()
    assert not torch.equal(student["encoder.a.layers.0.0.weight"], taught["encoder.a.layers.0.0.weight"])
    assert soft_gradient(built.learner, built.batches.batch(0)) > 1e-2


def test_without_it_the_student_is_its_teacher(open_taught):
    session = open_taught("strategy.stages.distill.reinitialize=false")
    built = build_stage(session, session.stages["distill"])
    assert soft_gradient(built.learner, built.batches.batch(0)) < 1e-4


def test_new_weights_depend_on_the_seed_and_the_name_of_the_stage_alone(open_taught):
    keys, weights = [], []
    for name, overrides in (("first", []), ("second", []), ("third", ["seed=1"])):
        session = open_taught(*overrides, name=name)
        keys.append(stage_key(session, build_stage(session, session.stages["distill"])))
        weights.append(session.model.state_dict()["encoder.a.layers.0.0.weight"].clone())
    assert keys[0] == keys[1] != keys[2]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_what_no_earlier_stage_trained_keeps_its_initial_weights(open_run):
    initial = clone_weights(open_run("strategy=scratch", name="scratch").model)
    session = open_run("strategy=scratch", "strategy.stages.train.reinitialize=true")
    build_stage(session, session.stages["train"])
    assert all(torch.equal(tensor, initial[name]) for name, tensor in session.model.state_dict().items())


def test_a_reinitialized_stage_can_be_reused(load, tmp_path):
    overrides = ["strategy=distill", "strategy.stages.teach.reuse=true", "strategy.stages.distill.reuse=true"]
    folders = [run(load(*overrides, f"outputs={tmp_path}/{name}"), NullCallback()) for name in ("one", "two")]
    first, second = (folder.read_metrics() for folder in folders)
    assert [stage["reused"] for stage in second["cost"]["stages"].values()] == [True, True]
    assert first["metrics"] == second["metrics"]
