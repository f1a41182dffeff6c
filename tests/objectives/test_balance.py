"""Balance: the contract of every method, and the formula of each on literal cases."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mmrun.compose import list_options, load_option
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.blending import GradientBlending
from mmrun.objectives.balance.conflicts import MMPareto, Pcgrad, min_norm_weight, project_conflicts
from mmrun.objectives.balance.modulation import Agm, OgmGe, score_truth
from mmrun.objectives.balance.prototypes import Pmr, Prototypes
from mmrun.objectives.balance.teachers import Umt
from mmrun.objectives.balance.unimodal import (
    average_others,
    compute_discrepancy_ratio,
    compute_losses_and_features,
    modify_gradients,
    record_features,
)
from mmrun.objectives.task import Task
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.testing.examples import DIMS, KINDS, TASKS, build_batch, build_model
from mmrun.training.learner import Learner
from mmrun.types import Batch, Encoder, Features, Fusion, Objective

NAMES = [name for name in list_options("balance") if name != "none"]
LABEL, AGE = TASKS["label"], TASKS["age"]


def get_kwargs(learner, tasks=TASKS):
    return {"model": learner, "tasks": tasks, "kinds": KINDS, "dims": DIMS, "fusion_dim": 6}


def build(name, learner, tasks=TASKS, **changes):
    torch.manual_seed(1)
    return instantiate(
        {**load_option("balance", name), **changes},
        "balance",
        get_kwargs(learner, tasks),
        objective=Task(tasks),
    )


def scale(loss):
    return loss


def compute_gradients(objective, learner, data, scale=scale):
    """Add the gradients of one batch, with the same random masks each time; return those of the model."""
    torch.manual_seed(2)
    objective.backward(learner, objective(learner, data), scale)
    return {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}


def all_close(first, second, **tolerance):
    return first.keys() == second.keys() and all(torch.allclose(first[n], second[n], **tolerance) for n in first)


# ------------------------------------------------------------------------------------------------- contract


def test_all_balances_are_found():
    assert NAMES == ["agm", "gradient_blending", "mmpareto", "ogm_ge", "pcgrad", "pmr", "umt"]


@pytest.mark.parametrize("name", NAMES)
def test_it_learns(name):
    learner, data = build_model(), build_batch()
    objective = build(name, learner)
    optimizer = torch.optim.Adam([*learner.parameters(), *objective.parameters()], lr=1e-2)
    first = objective.eval()(learner, data)["loss"].item()
    objective.train()
    for _ in range(30):
        optimizer.zero_grad()
        objective.backward(learner, objective(learner, data), scale)
        optimizer.step()
    assert objective.eval()(learner, data)["loss"].item() < 0.7 * first


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_fp32_scalars_and_in_validation_those_of_the_stage(name):
    learner, data = build_model(), build_batch()
    objective = build(name, learner)
    with torch.autocast("cpu", torch.bfloat16):
        losses = objective(learner, data)
        assert all(loss.shape == () and loss.dtype is torch.float32 and loss.isfinite() for loss in losses.values())
        assert all(part == "loss" or part.startswith("loss/") for part in losses)
        objective.backward(learner, losses, scale)
    assert objective.eval()(learner, data) == Task(TASKS)(learner, data)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_encoder_and_all_that_it_owns(name):
    learner, data = build_model(), build_batch(rows=40)
    objective = build(name, learner)
    result = compute_gradients(objective, learner, data)
    assert all(
        result[n].abs().sum() > 0 for n, _ in learner.named_parameters() if n.startswith(("encoder.photo", "head"))
    )
    assert all(p.grad is not None for p in objective.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_there_is_added_to_and_the_scale_is_kept(name):
    """The micro-batches of a step add up, and fp16 scales its losses."""
    learner, data = build_model(), build_batch()
    objective = build(name, learner)
    twice = copy.deepcopy((learner, objective))
    alone = compute_gradients(objective, learner, data)
    for parameter in twice[0].parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    added = compute_gradients(twice[1], twice[0], data, lambda loss: 1024 * loss)
    assert all_close({n: (added[n] - 3) / 1024 for n in alone}, alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_rows_without_a_modality_do_not_count(name):
    learner, data = build_model(), build_batch()
    objective = build(name, learner)
    data.present["photo"][:3] = False
    first = compute_gradients(*(pair := copy.deepcopy((objective, learner))), data)
    data.inputs["photo"][:3] = torch.rand(3, 1, 8, 8)  # the content of missing rows must not matter
    assert all_close(first, compute_gradients(objective, learner, data), atol=1e-6)
    assert all_close(dict(pair[0].named_buffers()), dict(objective.named_buffers()), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_modality_or_a_target_may_be_missing_altogether(name):
    for change in ("present", "target"):
        learner, data = build_model(), build_batch()
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
    learner, data = build_model(), build_batch(rows=20)
    objective = build(name, learner)
    for _ in range(3):
        compute_gradients(objective, learner, data)
    fresh = build(name, build_model())
    fresh.load_state_dict(objective.state_dict())
    learner.zero_grad()
    first = compute_gradients(objective, learner, data)
    learner.zero_grad()
    assert all_close(first, compute_gradients(fresh, learner, data), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_encoders_that_do_not_learn_are_left_alone(name):
    learner, data = build_model(), build_batch()
    learner.encoder["photo"].requires_grad_(False)
    assert not [n for n in compute_gradients(build(name, learner), learner, data) if n.startswith("encoder.photo")]


@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_the_device(name):
    """Fake tensors hold no values: whatever asks for one, as copying it from a GPU would, fails."""
    learner, data = build_model(), build_batch()
    objective = build(name, learner)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for _ in range(2):
            objective.backward(learner, objective(learner, data), scale)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"ogm_ge", "pmr"}))
def test_numbers_alone_are_balanced_too(name):
    learner, data = build_model(), build_batch()
    assert compute_gradients(build(name, learner, {"age": AGE}), learner, data)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "ogm_ge",
            {"tasks": {"age": AGE}},
            "balance: ogm_ge compares probabilities, and no task has classes or labels (there are age); "
            "choose agm, gradient_blending, pcgrad, mmpareto or umt",
        ),
        (
            "pmr",
            {"tasks": {"age": AGE}},
            "balance: pmr needs classes, and no task is a classification (there are age); "
            "choose agm, gradient_blending, pcgrad, mmpareto or umt",
        ),
        (
            "pcgrad",
            {"tasks": {"age": AGE}, "unimodal_weight": 0.0},
            "balance.unimodal_weight: a single task without unimodal losses has no conflicts; set it above 0",
        ),
        ("pcgrad", {"unimodal_weight": -1.0}, "balance.unimodal_weight: -1.0 is not a number of at least 0"),
        ("ogm_ge", {"alpha": -1.0}, "balance.alpha: -1.0 is not a number of at least 0"),
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
        build(name, build_model(), **changes)
    assert str(caught.value) == message


# ---------------------------------------------------------------------------------------------- two plain modalities


class Vector(Encoder):
    """One linear layer."""

    kind, dim = "tabular", 2

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.linear.weight)

    def forward(self, x):
        return Features(self.linear(x))


class Sum(Fusion):
    """The sum of the modalities that are present."""

    dim = 2

    def forward(self, features, present):
        return torch.stack([f.pooled * present[m].unsqueeze(1) for m, f in features.items()]).sum(0)

    def head(self, num_outputs):
        return nn.Identity()


def build_pair(tasks):
    """Return a model of two modalities, a and b, whose output is the sum of their vectors."""
    return Multimodal({"a": Vector(), "b": Vector()}, Sum(), tasks)


def build_rows(a, b, label, index=None):
    a, b, label = torch.tensor(a), torch.tensor(b), torch.tensor(label)
    present = torch.ones(len(label), dtype=torch.bool)
    numbers = torch.arange(1, 1 + len(label)) if index is None else torch.tensor(index)
    return Batch({"a": a, "b": b}, {"a": present, "b": present.clone()}, {"label": label}, numbers)


TWO = {"label": Classification("label", ["x", "y"], np.array([1, 1]))}
BOTH, WIDTHS = {"a": "tabular", "b": "tabular"}, {"a": 2, "b": 2}


class Fixed(Objective):
    """Losses with literal gradients."""

    def __init__(self, *losses) -> None:
        super().__init__()
        self.losses = losses

    def forward(self, model, batch):
        model(batch)
        parts = {f"loss/{n}": (model.encoder["a"].linear.weight[0] * torch.tensor(g)).sum() for n, g in self.losses}
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}


# -------------------------------------------------------------------------------------------------- shared arithmetic


def test_the_discrepancy_ratio_is_the_score_over_that_of_the_others():
    every = torch.tensor([True, True, True])
    assert compute_discrepancy_ratio(torch.tensor([0.9, 0.3, 0.3]), every).tolist() == pytest.approx([3.0, 0.5, 0.5])
    some = torch.tensor([True, False, True])
    assert compute_discrepancy_ratio(torch.tensor([0.9, 0.1, 0.3]), some).tolist() == pytest.approx([3.0, 1.0, 1 / 3])
    assert compute_discrepancy_ratio(torch.tensor([0.9, 0.1]), torch.tensor([True, False])).tolist() == [1.0, 1.0]
    assert average_others(torch.tensor([1.0, 2.0, 6.0]), every)[0].tolist() == [4.0, 3.5, 1.5]


def test_gradients_are_changed_on_their_way_and_only_meanwhile():
    learner = build_pair(TWO)
    weight = learner.encoder["a"].linear.weight
    with modify_gradients(learner, {"a": lambda gradient: 2 * gradient}):
        (weight.sum() + weight[0, 0]).backward()  # used twice, changed once: the complete gradient
    assert weight.grad.tolist() == [[4.0, 2.0], [2.0, 2.0]]
    weight.sum().backward()
    assert weight.grad.tolist() == [[5.0, 3.0], [3.0, 3.0]]


def test_the_last_pass_over_the_batch_with_gradients_is_recorded():
    learner = build_pair(TWO)
    encoder, x = learner.encoder["a"], torch.tensor([[1.0, 2.0]])
    with record_features(learner, ["a", "b"], num_rows=1) as recorded:
        for row in (x, 2 * x, torch.cat([x, x])):
            encoder(row)
        with torch.no_grad():
            encoder(3 * x)
    encoder(4 * x)
    assert recorded.keys() == {"a"}
    assert recorded["a"].pooled.tolist() == [[2.0, 4.0]]


def test_stored_features_are_returned_too():
    learner, data = build_pair(TWO), build_rows([[2.0, 0.0]], [[0.0, 1.0]], [0])
    stored = data._replace(inputs={**data.inputs, "a": {"pooled": torch.tensor([[5.0, 5.0]])}})
    _, features = compute_losses_and_features(Task(TWO), learner, stored, ["a", "b"])
    assert [part.pooled.tolist() for part in features.values()] == [[[5.0, 5.0]], [[0.0, 1.0]]]


# ------------------------------------------------------------------------------------------------------------ OGM-GE


def build_ogm(**changes):
    return OgmGe(Task(TWO), TWO, BOTH, WIDTHS, **changes)


def test_ogm_the_stronger_gradient_shrinks_by_the_literal_factor():
    balance = build_ogm(alpha=0.5)
    factor = balance.compute_factors(torch.tensor([7.2, 2.4]), torch.tensor([8.0, 8.0]))  # means 0.9 and 0.3
    assert factor.tolist() == pytest.approx([1 - math.tanh(0.5 * 3), 1.0])
    equal = balance.compute_factors(torch.tensor([4.0, 1.0]), torch.tensor([8.0, 2.0]))  # means 0.5
    assert equal.tolist() == [1.0, 1.0]
    unscaled = build_ogm(alpha=0.0).compute_factors(torch.tensor([7.2, 2.4]), torch.tensor([8.0, 8.0]))
    assert unscaled.tolist() == [1.0, 1.0]


def compute_strong_and_weak(noise):
    """Return the gradients of the task, and those where the probe of a is always right and that of b undecided."""
    learner, data = build_pair(TWO), build_rows([[1.0, 0.0], [0.0, 1.0]], [[0.3, 0.1], [0.2, 0.4]], [0, 1])
    balance = build_ogm(alpha=0.5, noise=noise)
    for modality, gain in (("a", 50.0), ("b", 0.0)):
        linear = balance.probes.linear[modality]["label"]
        linear.weight.data = gain * torch.eye(2)
        linear.bias.data.zero_()
    plain = compute_gradients(Task(TWO), learner, data)
    learner.zero_grad()
    return plain, compute_gradients(balance, learner, data), learner, balance


def test_ogm_changes_the_gradient_of_the_leader_alone():
    plain, changed, _, balance = compute_strong_and_weak(noise=False)
    factor = 1 - math.tanh(0.5 * 2)  # scores 1 and 1/2
    assert torch.allclose(changed["encoder.a.linear.weight"], factor * plain["encoder.a.linear.weight"])
    assert torch.equal(changed["encoder.b.linear.weight"], plain["encoder.b.linear.weight"])
    assert balance.factors["a"].item() == pytest.approx(factor)


def test_ogm_noise_has_the_deviation_of_the_gradient():
    balance, gradient = build_ogm(), torch.randn(200, 200) * 3 + 1
    torch.manual_seed(0)
    noise = balance._modulate(torch.tensor(0.5), gradient) - 0.5 * gradient
    assert noise.std().item() == pytest.approx(3.0, rel=0.02)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.05)
    assert torch.equal(balance._modulate(torch.tensor(1.0), gradient), gradient)
    plain, changed, _, _ = compute_strong_and_weak(noise=True)
    assert torch.equal(changed["encoder.b.linear.weight"], plain["encoder.b.linear.weight"])


def test_the_probability_of_the_truth():
    odds = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    truth, visible = score_truth(TWO["label"], odds, torch.tensor([0, -100]))
    assert truth[0].item() == pytest.approx(0.75)
    assert visible.tolist() == [True, False]
    labels = torch.tensor([[1.0, 0.0], [0.0, math.nan]])
    truth, visible = score_truth(Multilabel("tags", ["x", "y"]), odds, labels)
    assert truth.tolist() == pytest.approx([(0.75 + 0.5) / 2, 0.5])
    assert visible.tolist() == [True, True]


# --------------------------------------------------------------------------------------------------------------- AGM


def test_agm_factors_are_the_literal_ones():
    balance, every = Agm(Task(TWO), TWO, BOTH, alpha=2.0), torch.tensor([True, True])
    first = balance.compute_factors(torch.tensor([0.5, 1.5]), every)  # before the first step tau is 1
    assert first.tolist() == pytest.approx([math.exp(2 * (1 - math.e)), math.exp(2 * (1 - 1 / math.e))])
    second = balance.compute_factors(torch.tensor([0.9, 1.1]), every)
    tau, r = (math.e, 1 / math.e), (math.exp(0.2), math.exp(-0.2))
    assert second.tolist() == pytest.approx([math.exp(2 * (t - part)) for t, part in zip(tau, r, strict=True)])
    assert balance.mean.tolist() == pytest.approx([0.7, 1.3])
    assert balance.compute_factors(torch.tensor([0.7, 1.3]), every).tolist() == pytest.approx([1.0, 1.0])  # as usual
    some = torch.tensor([True, False])
    assert balance.compute_factors(torch.tensor([9.0, 0.0]), some).tolist() == [1.0, 1.0]
    assert balance.number.tolist() == [4.0, 3.0]


def test_agm_responses_of_an_additive_model_are_its_terms():
    learner, data = build_pair(TWO), build_rows([[2.0, 0.0]], [[0.0, 1.0]], [0])
    balance = Agm(Task(TWO), TWO, BOTH, alpha=1.0)
    features = learner.encode(data.inputs)
    surprise = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(1))]  # cross-entropies of [2, 0] and [0, 1]
    assert balance._compute_response_losses(learner, features, data).tolist() == pytest.approx(surprise)
    plain = compute_gradients(Task(TWO), learner, data)
    learner.zero_grad()
    changed = compute_gradients(balance, learner, data)
    ratio = math.exp(surprise[1] - surprise[0])
    for modality, r in (("a", ratio), ("b", 1 / ratio)):
        name = f"encoder.{modality}.linear.weight"
        assert torch.allclose(changed[name], math.exp(1 - r) * plain[name])


def test_agm_leaves_the_fusion_as_it_was():
    learner, data = build_model(), build_batch()
    before = [module.training for module in learner.modules()]
    compute_gradients(build("agm", learner), learner, data)
    assert [module.training for module in learner.modules()] == before


# ------------------------------------------------------------------------------------------------------------ PCGrad


def test_pcgrad_takes_away_the_literal_part_that_conflicts():
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    # (1, 0) loses its part along (-1, 1), (-1, 1) its part along (1, 0)
    assert project_conflicts(torch.stack([first, second])).tolist() == pytest.approx([0.5 + 0.0, 0.5 + 1.0])


def test_pcgrad_of_two_hurts_neither_and_is_the_sum_where_they_agree():
    torch.manual_seed(0)
    agreed = 0
    for first, second in torch.randn(200, 2, 5):
        result = project_conflicts(torch.stack([first, second]))
        assert result @ first > -1e-5
        assert result @ second > -1e-5
        if first @ second >= 0:
            agreed += 1
            assert torch.allclose(result, first + second)
    assert 50 < agreed < 150


def test_pcgrad_in_a_model_weighs_the_tasks_as_the_objective_does_and_loses_nothing():
    """Without conflicts, and for heads always, it is the sum of all gradients."""
    learner, data = build_model(), build_batch()
    for weights in ({}, {"age": 7.0}):
        balance = Pcgrad(Task(TASKS, weights), TASKS, KINDS, DIMS, unimodal_weight=0.5)
        summed = torch.autograd.grad(balance(learner, data)["loss"], list(learner.parameters()), allow_unused=True)
        names = [name for name, _ in learner.named_parameters()]
        plain = {name: g for name, g in zip(names, summed, strict=True) if g is not None}
        learner.zero_grad()
        changed = compute_gradients(balance, learner, data)
        assert all(torch.allclose(changed[n], plain[n], atol=1e-6) for n in plain if n.startswith("head"))
        assert plain.keys() == changed.keys()


def test_pcgrad_between_tasks_that_conflict():
    tasks = {"x": TWO["label"], "y": TWO["label"]}
    learner, data = build_pair(tasks), build_rows([[1.0, 0.0]], [[0.0, 1.0]], [0])
    balance = Pcgrad(Fixed(("x", [1.0, 0.0]), ("y", [-1.0, 1.0])), tasks, BOTH, WIDTHS, unimodal_weight=0.0)
    result = compute_gradients(balance, learner, data)
    assert result["encoder.a.linear.weight"][0].tolist() == pytest.approx([0.5, 1.5])
    assert "encoder.b.linear.weight" not in result  # no loss reaches it


# ---------------------------------------------------------------------------------------------------------- MMPareto


def build_pareto(gamma=1.0):
    return MMPareto(Task(TWO), TWO, BOTH, WIDTHS, gamma)


def test_the_shortest_combination_is_that_of_a_grid():
    torch.manual_seed(0)
    grid = torch.linspace(0, 1, 2001).unsqueeze(1)
    for first, second in torch.randn(100, 2, 3):
        lengths = (grid * first + (1 - grid) * second).norm(dim=1)
        assert min_norm_weight(first, second).item() == pytest.approx(grid[lengths.argmin()].item(), abs=1e-3)


def test_mmpareto_descends_both_losses_and_is_as_long_as_their_sum():
    torch.manual_seed(0)
    for joint, alone in torch.randn(200, 2, 4):
        combined = build_pareto().combine_gradients(torch.stack([joint, alone]))
        assert min(combined @ joint, combined @ alone) > -1e-5
        assert combined.norm() >= (joint + alone).norm() * (1 - 1e-4)
        if joint @ alone >= 0:
            assert torch.allclose(combined, joint + alone)
        assert torch.allclose(build_pareto(1.5).combine_gradients(torch.stack([joint, alone])), 1.5 * combined)


def test_mmpareto_of_a_literal_conflict():
    joint, alone = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])
    weight = 0.4  # of the joint gradient: ((-3, 1) . (-1, 1)) / |(3, -1)|^2
    assert min_norm_weight(joint, alone).item() == pytest.approx(weight)
    combined = 2 * (weight * joint + (1 - weight) * alone)  # (0.4, 1.2), shorter than the sum (1, 1)
    expected = combined * math.sqrt(2) / combined.norm()
    assert build_pareto().combine_gradients(torch.stack([joint, alone])).tolist() == pytest.approx(expected.tolist())
    opposed = torch.stack([joint, -joint])
    assert build_pareto().combine_gradients(opposed).tolist() == [0.0, 0.0]


# -------------------------------------------------------------------------------------------------- gradient blending


def build_blending(**changes):
    return GradientBlending(Task(TWO), TWO, BOTH, WIDTHS, **{"every": 1, "decay": 0.0, "least": 0.0, **changes})


def test_blending_weighs_by_the_literal_ratio():
    balance, all_of_them = build_blending(), torch.ones(2, 3, dtype=torch.bool)
    balance.update(torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]), all_of_them)
    assert balance.weight.tolist() == pytest.approx([1 / 3] * 3)
    # joint: gains 0.4, overfits 0.2; a: gains 0.4, overfits 0.4; b: held-out rows get worse
    balance.update(torch.tensor([[0.4, 0.2, 0.1], [0.6, 0.6, 1.2]]), all_of_them)
    merits = [0.4 / 0.2**2, 0.4 / 0.4**2, 0.0]
    assert balance.weight.tolist() == pytest.approx([m / sum(merits) for m in merits], rel=1e-4)
    unchanged = balance.weight.clone()
    balance.update(torch.tensor([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]]), all_of_them)  # nothing generalises
    assert torch.equal(balance.weight, unchanged)


def test_blending_keeps_a_share_for_equal_parts_and_batches_without_held_out_rows_do_not_count():
    balance = build_blending(least=0.3)
    for gap in (0.0, 0.2, 0.4):
        counted = torch.tensor([[True, True, True], [gap < 0.4] * 3])
        balance.update(torch.tensor([[1 - 2 * gap] * 3, [1 - gap, 1.0, 1.0]]), counted)
        if gap == 0.2:
            assert balance.weight.tolist() == pytest.approx([0.8, 0.1, 0.1])
    assert balance.average[1, 0].item() == pytest.approx(0.8)


def test_blending_never_trains_on_held_out_rows():
    learner, balance = build_pair(TWO), build_blending()
    a, b = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], [[0.3, 0.1], [0.2, 0.4], [0.0, 0.0]]
    first = compute_gradients(copy.deepcopy(balance), learner, build_rows(a, b, [0, 1, 1], [10, 11, 12]))
    learner.zero_grad()
    assert all_close(
        first, compute_gradients(copy.deepcopy(balance), learner, build_rows(a, b, [1, 1, 1], [10, 11, 12]))
    )
    learner.zero_grad()
    assert not all_close(first, compute_gradients(balance, learner, build_rows(a, b, [1, 1, 1], [9, 11, 12])))


def test_blending_gives_a_modality_that_overfits_less_weight():
    """`a` is noise, which can only be memorised; `b` holds the label."""
    torch.manual_seed(0)
    label = torch.randint(0, 2, (60,))
    wide = {"a": 40, "b": 40}
    noise = torch.randn(60, 40)
    informative = torch.randn(60, 40) * 0.1 + (label * 2.0 - 1).unsqueeze(1)
    present = torch.ones(60, dtype=torch.bool)
    data = Batch({"a": noise, "b": informative}, {"a": present, "b": present}, {"label": label}, torch.arange(60))

    class Same(Encoder):
        kind, dim = "tabular", 40

        def forward(self, x):
            return Features(x)

    class Side(Fusion):
        dim = 80

        def forward(self, features, present):
            return torch.cat([f.pooled for f in features.values()], 1)

    learner = Multimodal({"a": Same(), "b": Same()}, Side(), TWO)
    balance = GradientBlending(Task(TWO), TWO, BOTH, wide, every=10, decay=0.5, least=0.0)
    optimizer = torch.optim.Adam([*learner.parameters(), *balance.parameters()], lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        balance.backward(learner, balance(learner, data), scale)
        optimizer.step()
    _, a, b = balance.weight.tolist()
    assert a < 0.1 * b


# --------------------------------------------------------------------------------------------------------------- PMR


def test_prototypes_are_means_followed_with_momentum():
    prototypes, counted = Prototypes(3, 2, momentum=0.75), torch.tensor([True, True, False])
    x, target = torch.tensor([[1.0, 0.0], [3.0, 0.0], [9.0, 9.0]]), torch.tensor([0, 0, 1])
    near = prototypes(x, target, counted)
    assert prototypes.vectors.tolist() == [[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    assert near[:, 0].tolist() == pytest.approx([0.0, 0.0, 0.0])  # the only class that was seen
    near = prototypes(torch.tensor([[6.0, 0.0], [0.0, 4.0]]), torch.tensor([0, 1]), torch.tensor([True, True]))
    assert prototypes.vectors.tolist() == [[0.75 * 2 + 0.25 * 6, 0.0], [0.0, 4.0], [0.0, 0.0]]
    assert near[1, :2].tolist() == pytest.approx([-5 - math.log(1 + math.exp(-5)), -math.log(1 + math.exp(-5))])


def test_pmr_helps_the_modality_behind_and_at_first_holds_back_the_one_ahead():
    """Class means of `a` lie 4 apart, those of `b` in one place."""
    learner = build_pair(TWO)
    data = build_rows([[0.0, 0.0], [4.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]], [0, 1])
    balance = Pmr(Task(TWO), TWO, BOTH, WIDTHS, alpha=2.0, mu=0.1, entropy_steps=1)
    task = Task(TWO)(learner, data)["loss"].item()
    sure, unsure = 1 / (1 + math.exp(-4)), 0.5  # the probabilities of the truth
    slow, fast = min(1.0, sure / unsure - 1), min(1.0, sure / unsure - 1)
    entropy = -sure * math.log(sure) - (1 - sure) * math.log(1 - sure)
    early, late = balance(learner, data)["loss"].item(), balance(learner, data)["loss"].item()
    assert late == pytest.approx(task + 2.0 * slow * math.log(2), rel=1e-5)
    assert early == pytest.approx(late - 0.1 * fast * entropy, rel=1e-5)


# --------------------------------------------------------------------------------------------------------------- UMT


def test_umt_pulls_each_encoder_to_itself_as_the_stage_found_it():
    learner, data = build_pair(TWO), build_rows([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]], [0, 1])
    balance = Umt(Task(TWO), learner, BOTH, weight=10.0)
    assert balance(learner, data)["loss"].item() == Task(TWO)(learner, data)["loss"].item()
    learner.encoder["a"].linear.weight.data *= 2  # a's vectors are doubled
    data.present["a"][1] = False
    losses = balance(learner, data)
    assert losses["loss/teacher/a"].item() == pytest.approx((1 + 4) / 2)
    assert losses["loss/teacher/b"].item() == 0.0
    assert losses["loss"].item() == pytest.approx(Task(TWO)(learner, data)["loss"].item() + 25.0)


def test_umt_trains_although_it_has_no_trainable_parameters():
    learner = build_pair(TWO)
    balance = Umt(Agm(Task(TWO), TWO, BOTH), learner, BOTH)
    Learner(learner, balance).train()
    assert balance.training
    assert balance.objective.training
    assert not any(module.training for module in balance.teacher.modules())
    assert not any(p.requires_grad for p in balance.teacher.parameters())
