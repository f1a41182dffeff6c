"""OGM-GE and AGM on literal cases."""

import math

import pytest
import torch

from mmrun.objectives.balance.modulation import Agm, OgmGe
from mmrun.objectives.losses import score_truth
from mmrun.objectives.task import Task
from mmrun.tasks.multilabel import Multilabel
from mmrun.testing.examples import build_batch, build_model
from tests.objectives.balance.methods import build, compute_gradients
from tests.objectives.balance.pair import BOTH, TWO, WIDTHS, build_pair, build_rows


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


def test_ogm_noise_has_the_deviation_of_the_gradient_in_every_encoder():
    torch.manual_seed(0)
    _, _, _, balance = compute_strong_and_weak(noise=True)
    gradient = torch.randn(200, 200) * 3 + 1
    for factor in (0.5, 1.0):
        noise = balance._modulate(torch.tensor(factor), gradient) - factor * gradient
        assert noise.std().item() == pytest.approx(3.0, rel=0.02)
        assert noise.mean().item() == pytest.approx(0.0, abs=0.05)


def test_ogm_leaves_gradients_alone_before_modulation_starts_and_after_it_ends():
    learner, data = build_pair(TWO), build_rows([[1.0, 0.0], [0.0, 1.0]], [[0.3, 0.1], [0.2, 0.4]], [0, 1])
    plain = compute_gradients(Task(TWO), learner, data)
    balance = build_ogm(modulation_starts=1, modulation_ends=3)
    changed = []
    for _ in range(4):
        learner.zero_grad()
        gradients = compute_gradients(balance, learner, data)
        changed.append(any(not torch.equal(gradients[name], plain[name]) for name in plain))
        balance.on_step_end(learner)
    assert changed == [False, True, True, False]


def test_the_probability_of_the_truth():
    odds = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    truth, visible = score_truth(TWO["label"], odds, torch.tensor([0, -100]))
    assert truth[0].item() == pytest.approx(0.75)
    assert visible.tolist() == [True, False]
    labels = torch.tensor([[1.0, 0.0], [0.0, math.nan]])
    truth, visible = score_truth(Multilabel("tags", ["x", "y"]), odds, labels)
    assert truth.tolist() == pytest.approx([(0.75 + 0.5) / 2, 0.5])
    assert visible.tolist() == [True, True]


def test_agm_factors_are_the_literal_ones():
    balance, every = Agm(Task(TWO), TWO, BOTH, alpha=2.0), torch.tensor([True, True])
    first = balance.compute_factors(torch.tensor([0.5, 1.5]), every)  # before the first step tau is 1
    assert first.tolist() == pytest.approx([math.exp(2 * (1 - math.e)), math.exp(2 * (1 - 1 / math.e))])
    balance.update(torch.tensor([0.5, 1.5]), every)
    second = balance.compute_factors(torch.tensor([0.9, 1.1]), every)
    balance.update(torch.tensor([0.9, 1.1]), every)
    tau, r = (math.e, 1 / math.e), (math.exp(0.2), math.exp(-0.2))
    assert second.tolist() == pytest.approx([math.exp(2 * (t - part)) for t, part in zip(tau, r, strict=True)])
    assert balance.mean.tolist() == pytest.approx([0.7, 1.3])
    assert balance.compute_factors(torch.tensor([0.7, 1.3]), every).tolist() == pytest.approx([1.0, 1.0])  # as usual
    some = torch.tensor([True, False])
    assert balance.compute_factors(torch.tensor([9.0, 0.0]), some).tolist() == [1.0, 1.0]
    balance.update(torch.tensor([9.0, 0.0]), some)
    assert balance.number.tolist() == [3.0, 2.0]


def test_agm_knows_no_usual_lead_of_a_modality_that_was_missing_so_far():
    balance = Agm(Task(TWO), TWO, BOTH, alpha=2.0)
    balance.compute_factors(torch.tensor([3.0, 0.0]), torch.tensor([True, False]))
    factors = balance.compute_factors(torch.tensor([0.5, 1.5]), torch.tensor([True, True]))
    assert factors.tolist() == pytest.approx([math.exp(2 * (1 - math.e)), math.exp(2 * (1 - 1 / math.e))])


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
