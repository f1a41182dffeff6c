import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.adversarial import Adversarial, Embedded, find_word_embedding, perturb_embeddings
from mmrun.objectives.continuous import get_continuous_parts, perturb
from mmrun.objectives.task import Task
from mmrun.testing.examples import KINDS, TASKS, WordEncoder, build_batch, build_model
from mmrun.types import Features
from tests.objectives import few_labels

EPSILON = {"image": 0.1, "audio": 0.05, "tabular": 0.3, "series": 0.2}


def build(**changes):
    return Adversarial(Task, **{"tasks": TASKS, "kinds": KINDS, "epsilon": EPSILON, **changes})


def build_fgm(learner, **changes):
    return Embedded(Task, **{"tasks": TASKS, "kinds": KINDS, "model": learner, **changes})


def compute_loss(learner, data):
    return Task(TASKS)(learner, data)["loss"].item()


def test_with_epsilon_zero_it_is_the_task_itself():
    learner, data = build_model(), build_batch()
    no_epsilon = dict.fromkeys(EPSILON, 0.0)
    for changes in ({}, {"steps": 3, "random_start": True, "weight": 1.0}):
        assert build(epsilon=no_epsilon, **changes)(learner, data)["loss"].item() == compute_loss(learner, data)
    assert build_fgm(learner, epsilon=0.0)(learner, data)["loss"].item() == compute_loss(learner, data)


def test_validation_sees_the_rows_as_they_are():
    learner, data = build_model(), build_batch()
    with torch.no_grad():
        assert build().eval()(learner, data)["loss"].item() == compute_loss(learner, data)
        assert build_fgm(learner).eval()(learner, data)["loss"].item() == compute_loss(learner, data)


def test_fgsm_against_a_linear_model_by_hand():
    """Every number changes by epsilon, against the sign of its weight if the output should grow."""
    learner, data = build_model("cells"), build_batch("cells")
    tasks, kinds = {"age": TASKS["age"]}, {"cells": "tabular"}
    data = data._replace(targets={"age": torch.full((8,), 1e3)})  # far above any output: attacks lower it
    linear, above = learner.encoder["cells"].linear.weight[:, :3], learner.fusion.linear.weight
    slope = (learner.head["age"].weight @ above @ linear).squeeze(0)  # [3]
    attack = Adversarial(Task, tasks, kinds, {"tabular": 0.3}).attack(learner, data)
    assert torch.equal(attack["cells"], (-0.3 * slope.sign()).expand(8, 3))
    lower = learner(perturb(data, kinds, attack))["age"] - learner(data)["age"]
    assert torch.allclose(lower, -0.3 * slope.abs().sum().expand(8, 1), atol=1e-5)


def test_perturbations_stay_within_epsilon_and_range_and_spare_padding():
    learner, data = build_model(), build_batch()
    data.present["photo"][0] = False
    data.inputs["cells"]["missing"][0, 0] = True
    objective = build(steps=4, step_size=0.5, random_start=True)
    attack = objective.attack(learner, data)
    assert set(attack) == {"photo", "sound", "cells", "sensor"}
    seen = perturb(data, KINDS, attack)
    before, after = get_continuous_parts(data, KINDS), get_continuous_parts(seen, KINDS)
    for name, epsilon in (("photo", 0.1), ("sound", 0.05), ("cells", 0.3), ("sensor", 0.2)):
        perturbations = after[name] - before[name]
        assert 0.5 * epsilon < perturbations.abs().max().item() <= epsilon + 1e-6
    assert after["photo"].min() >= 0
    assert after["photo"].max() <= 1
    assert torch.equal(after["photo"][0], before["photo"][0])
    assert after["cells"][0, 0] == before["cells"][0, 0]
    assert torch.equal(after["sound"][1, 900:], before["sound"][1, 900:])
    assert torch.equal(after["sensor"][:, :, 9:], before["sensor"][:, :, 9:])
    assert seen.inputs["title"] is data.inputs["title"]


def test_each_step_of_pgd_raises_the_loss():
    learner, data = build_model(), build_batch()
    losses = [compute_loss(learner, data)]
    for steps in (1, 2, 4):
        objective = build(steps=steps, step_size=0.25)
        losses.append(compute_loss(learner, perturb(data, KINDS, objective.attack(learner, data))))
    assert losses == sorted(losses)
    assert losses[1] > losses[0]


def test_adversarial_rows_have_their_weight_and_leave_no_gradient():
    learner, data = build_model(), build_batch()
    losses = build(weight=0.3)(learner, data)
    assert all(p.grad is None for p in learner.parameters())
    clean, adversarial = compute_loss(learner, data), losses["loss/adversarial"].item()
    assert adversarial > clean
    assert losses["loss"].item() == pytest.approx(0.7 * clean + 0.3 * adversarial)


class Normalised(few_labels.Cells):
    """A layer with batch statistics."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(16)

    def forward(self, x):
        return Features(self.norm(super().forward(x).pooled))


def test_attacks_do_not_count_in_batch_statistics():
    learner = Multimodal({"a": Normalised(), "b": Normalised()}, few_labels.Sum(), few_labels.TASKS)
    data = few_labels.draw_rows(30, 0)
    objective = Adversarial(Task, epsilon={"tabular": 0.5}, steps=5, weight=1.0, **few_labels.KWARGS)
    before = {name: buffer.clone() for name, buffer in learner.named_buffers()}
    objective.attack(learner, data)
    assert all(torch.equal(buffer, before[name]) for name, buffer in learner.named_buffers())
    objective(learner, data)
    norm = learner.encoder["a"].norm
    assert norm.num_batches_tracked == 1  # the pass that trains
    assert not torch.equal(norm.running_mean, before["encoder.a.norm.running_mean"])


def test_frozen_encoders_can_be_attacked():
    learner, data = build_model(), build_batch()
    learner.encoder.requires_grad_(False)
    assert build()(learner, data)["loss/adversarial"].item() > compute_loss(learner, data)
    assert build_fgm(learner)(learner, data)["loss/adversarial"].item() > compute_loss(learner, data)


@pytest.mark.parametrize("keys", [{"weight": 0.5}, {"steps": 5, "step_size": 0.5, "weight": 1.0, "random_start": True}])
def test_what_was_trained_on_attacks_stands_them_better(keys):
    data, new = few_labels.draw_rows(300, 0), few_labels.draw_rows(600, 5)
    attacker = Adversarial(Task, epsilon={"tabular": 0.5}, steps=5, step_size=0.5, **few_labels.KWARGS)
    accuracies = []
    for objective in (
        Task(few_labels.TASKS),
        Adversarial(Task, epsilon={"tabular": 0.5}, **keys, **few_labels.KWARGS),
    ):
        learner = few_labels.train(objective, few_labels.build_model(), data)
        attacked = perturb(new, few_labels.KINDS, attacker.attack(learner, new))
        accuracies.append(few_labels.accuracy(learner, attacked))
    assert accuracies[1] > accuracies[0] + 0.04


def test_fgm_moves_each_text_by_epsilon_along_its_slope():
    learner, data = build_model(), build_batch()
    perturbations = {}
    with perturb_embeddings(learner, ["title"], perturbations):
        loss = Task(TASKS)(learner, data)["loss"]
    assert loss.item() == compute_loss(learner, data)
    (slope,) = torch.autograd.grad(loss, [perturbations["title"]])
    further = 0.5 * slope / slope.flatten(1).norm(dim=1).view(-1, 1, 1)
    with perturb_embeddings(learner, ["title"], {"title": further}):
        expected = Task(TASKS)(learner, data)["loss"].item()
    losses = build_fgm(learner, epsilon=0.5)(learner, data)
    assert losses["loss/adversarial"].item() == pytest.approx(expected)
    assert expected > loss.item()
    assert losses["loss"].item() == pytest.approx((loss.item() + expected) / 2)
    assert not learner.encoder["title"].embed._forward_hooks


def test_words_are_embedded_by_the_largest_table():
    text = WordEncoder()
    text.positions = torch.nn.Embedding(5, 12)
    assert find_word_embedding(text) is text.embed
    assert find_word_embedding(torch.nn.Linear(2, 2)) is None


def test_what_cannot_be_attacked_is_refused():
    no_words = build_model()
    no_words.encoder["title"].embed = torch.nn.Linear(1, 1)
    for make, message in (
        (
            lambda: build(kinds={"title": "text"}),
            "objective.epsilon: no modality has a continuous input (title); for texts use objective fgm",
        ),
        (
            lambda: build_fgm(build_model(), kinds={"photo": "image"}),
            "objective: no modality is text (there are photo); choose pgd or fgsm",
        ),
        (
            lambda: build_fgm(no_words),
            "encoder.title: has no word embeddings that could be perturbed; choose another encoder",
        ),
        (lambda: build(steps=0), "objective.steps: 0 is below 1"),
        (lambda: build(weight=2.0), "objective.weight: 2.0 is not between 0 and 1"),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        assert str(caught.value) == message
