"""The contract of every balance."""

import copy
import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmrun.errors import ConfigError
from mmrun.objectives.task import Task
from mmrun.testing.examples import build_batch
from tests.objectives.balance.methods import (
    AGE,
    NAMES,
    all_close,
    build,
    build_learner,
    compute_gradients,
    scale,
    tasks_of,
)


def test_all_balances_are_found():
    published = ["agm", "gradient_blending", "lfm", "lfm_learned", "mla", "mmpareto", "ogm_ge", "pcgrad", "pmr"]
    assert [*published, "reconboost", "umt"] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_learns(name):
    learner, data = build_learner(name), build_batch()
    objective = build(name, learner)
    optimizer = torch.optim.Adam([*learner.parameters(), *objective.parameters()], lr=1e-2)
    learned_from = objective.prepare(data)  # without the rows that are held out
    first = objective.eval()(learner, learned_from)["loss"].item()
    objective.train()
    for _ in range(30):
        optimizer.zero_grad()
        objective.backward(learner, objective(learner, data), scale)
        optimizer.step()
        objective.on_step_end(learner)
    assert objective.eval()(learner, learned_from)["loss"].item() < 0.7 * first


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_several_forward_passes_moves_its_state_once(name):
    learner, data = build_learner(name), build_batch()
    states = []
    for passes in (1, 2):
        repeated = build(name, learner)
        before = copy.deepcopy(repeated.state_dict())
        for _ in range(passes):
            compute_gradients(repeated, learner, data)
        assert all(value.equal(before[key]) for key, value in repeated.state_dict().items())
        repeated.on_step_end(learner)
        states.append(repeated.state_dict())
    for key, value in states[0].items():
        assert torch.allclose(value, states[1][key]), key


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_fp32_scalars_and_in_validation_those_of_the_stage(name):
    learner, data = build_learner(name), build_batch()
    objective = build(name, learner)
    with torch.autocast("cpu", torch.bfloat16):
        losses = objective(learner, data)
        assert all(loss.shape == () and loss.dtype is torch.float32 and loss.isfinite() for loss in losses.values())
        assert all(part == "loss" or part.startswith("loss/") for part in losses)
        objective.backward(learner, losses, scale)
    assert objective.eval()(learner, data) == Task(tasks_of(name))(learner, data)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_encoder_and_all_that_it_owns(name):
    learner, data = build_learner(name), build_batch(rows=40)
    objective = build(name, learner)
    result = compute_gradients(objective, learner, data)
    assert all(
        result[n].abs().sum() > 0 for n, _ in learner.named_parameters() if n.startswith(("encoder.photo", "head"))
    )
    assert all(p.grad is not None for p in objective.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_there_is_added_to_and_the_scale_is_kept(name):
    """The micro-batches of a step add up, and fp16 scales its losses."""
    learner, data = build_learner(name), build_batch()
    objective = build(name, learner)
    twice = copy.deepcopy((learner, objective))
    alone = compute_gradients(objective, learner, data)
    for parameter in twice[0].parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    added = compute_gradients(twice[1], twice[0], data, lambda loss: 1024 * loss)
    assert all_close({n: (added[n] - 3) / 1024 for n in alone}, alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_rows_without_a_modality_do_not_count(name):
    learner, data = build_learner(name), build_batch()
    objective = build(name, learner)
    data.present["photo"][:3] = False
    first = compute_gradients(*(pair := copy.deepcopy((objective, learner))), data)
    data.inputs["photo"][:3] = torch.rand(3, 1, 8, 8)  # the content of missing rows must not matter
    assert all_close(first, compute_gradients(objective, learner, data), atol=1e-6)
    assert all_close(dict(pair[0].named_buffers()), dict(objective.named_buffers()), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_modality_or_a_target_may_be_missing_altogether(name):
    for change in ("present", "target"):
        learner, data = build_learner(name), build_batch()
        objective = build(name, learner)
        if change == "present":
            data.present["sound"][:] = False
        else:
            data.targets["label"][:] = -100
            data.targets["age"][:] = math.nan
        for _ in range(3):
            result = compute_gradients(objective, learner, data)
        assert all(g.isfinite().all() for g in result.values())
        assert all(b.isfinite().all() for b in objective.buffers())


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_on_from_its_state(name):
    """All that one step passes on to the next is in the state dict, which checkpoints save."""
    learner, data = build_learner(name), build_batch(rows=20)
    objective = build(name, learner)
    for _ in range(3):
        compute_gradients(objective, learner, data)
    fresh = build(name, build_learner(name))
    fresh.load_state_dict(objective.state_dict())
    learner.zero_grad()
    first = compute_gradients(objective, learner, data)
    learner.zero_grad()
    assert all_close(first, compute_gradients(fresh, learner, data), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_encoders_that_do_not_learn_are_left_alone(name):
    learner, data = build_learner(name), build_batch()
    learner.encoder["photo"].requires_grad_(False)
    assert not [n for n in compute_gradients(build(name, learner), learner, data) if n.startswith("encoder.photo")]


@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_the_device(name):
    """Fake tensors hold no values: whatever asks for one, as copying it from a GPU would, fails."""
    learner, data = build_learner(name), build_batch()
    objective = build(name, learner)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for _ in range(2):
            objective.backward(learner, objective(learner, data), scale)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"mla", "ogm_ge", "pmr", "reconboost"}))
def test_numbers_alone_are_balanced_too(name):
    learner, data = build_learner(name), build_batch()
    assert compute_gradients(build(name, learner, {"age": AGE}), learner, data)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "ogm_ge",
            {"tasks": {"age": AGE}},
            "balance: ogm_ge compares probabilities, and no task has classes or labels (there are age); "
            "choose agm, gradient_blending, lfm, pcgrad, mmpareto or umt",
        ),
        (
            "pmr",
            {"tasks": {"age": AGE}},
            "balance: pmr needs classes, and no task is a classification (there are age); "
            "choose agm, gradient_blending, lfm, pcgrad, mmpareto or umt",
        ),
        (
            "pcgrad",
            {"tasks": {"age": AGE}, "unimodal_weight": 0.0},
            "balance.unimodal_weight: a single task without unimodal losses has no conflicts; set it above 0",
        ),
        ("pcgrad", {"unimodal_weight": -1.0}, "balance.unimodal_weight: -1.0 is not a number of at least 0"),
        ("ogm_ge", {"alpha": -1.0}, "balance.alpha: -1.0 is not a number of at least 0"),
        (
            "ogm_ge",
            {"modulation_starts": 30, "modulation_ends": 30},
            "balance.modulation_ends: 30 is not above modulation_starts (30); set it higher, or to null",
        ),
        ("agm", {"alpha": -1.0}, "balance.alpha: -1.0 is not a number of at least 0"),
        ("umt", {"weight": -1.0}, "balance.weight: -1.0 is not a number of at least 0"),
        ("mmpareto", {"gamma": 0.0}, "balance.gamma: 0.0 is not a number above 0"),
        ("pmr", {"momentum": 1.0}, "balance.momentum: 1.0 is not a number from 0 to below 1"),
        ("gradient_blending", {"every": 0}, "balance.every: 0 is not a whole number above 0"),
        ("gradient_blending", {"decay": 1.1}, "balance.decay: 1.1 is not a number from 0 to 1"),
    ],
)
def test_invalid_arguments_are_refused(name, changes, message):
    with pytest.raises(ConfigError) as caught:
        build(name, build_learner(name), **changes)
    assert str(caught.value) == message
