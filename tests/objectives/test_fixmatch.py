"""FixMatch: learning from rows without a target under strong augmentation."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from mmrun.errors import ConfigError
from mmrun.objectives.augment import Augmentations
from mmrun.objectives.augmentations.tabular import AugmentTabular
from mmrun.objectives.fixmatch import FixMatch, pseudo_label_losses
from mmrun.objectives.task import Task
from mmrun.testing.examples import KINDS, METADATA, TASKS, build_model
from tests.objectives import few_labels
from tests.objectives.unlabelled import hide_half

UNCHANGED = Augmentations


def build(weak=UNCHANGED, strong=UNCHANGED, **changes):
    kwargs = {"tasks": TASKS, "kinds": KINDS, "metadata": METADATA}
    return FixMatch(Task, weak=weak, strong=strong, **{**kwargs, **changes})


def test_a_confident_class_is_the_target_of_the_strong_view():
    scores = torch.tensor([[0.96, 0.04], [0.1, 0.9], [0.0, 1.0]])
    output, hidden = torch.tensor([[0.0, 0.0], [5.0, 0.0], [5.0, 0.0]]), torch.tensor([True, True, False])
    losses = pseudo_label_losses(scores, output, hidden, threshold=0.95)
    assert losses.tolist() == pytest.approx([0.6931, 0.0, 0.0], abs=1e-4)  # the second is not sure, the last labelled


def test_confident_labels_are_targets_one_by_one():
    scores = torch.tensor([[0.99, 0.01, 0.5, 0.99]])
    hidden = torch.tensor([[True, True, True, False]])
    losses = pseudo_label_losses(scores, torch.tensor([[0.0, 3.0, 9.0, 9.0]]), hidden, threshold=0.95)
    expected = (F.softplus(torch.tensor(0.0)) + F.softplus(torch.tensor(3.0))) / 3  # over three hidden labels
    assert losses.item() == pytest.approx(expected.item())


def test_the_loss_is_a_mean_over_all_unlabelled_rows_and_labelled_rows_are_as_ever():
    model, data = build_model(), hide_half()
    losses = build(threshold=0.0, weight=3.0)(model, data)
    logits = model(data)["label"][1::2]  # every second row is unlabelled
    expected = F.cross_entropy(logits, logits.argmax(1))
    supervised = Task(TASKS)(model, data)["loss"]
    assert losses["loss/pseudo_label"].item() == pytest.approx(expected.item())
    assert losses["loss"].item() == pytest.approx(supervised.item() + 3 * expected.item())
    assert build(threshold=1.0)(model, data)["loss/pseudo_label"].item() == 0.0


def test_no_gradient_flows_through_the_weak_view():
    model, data = build_model(), hide_half()
    loss = build(strong=partial(Augmentations, tabular=ToZero), threshold=0.0)(model, data)
    gradient = torch.autograd.grad(loss["loss/pseudo_label"], model.encoder["cells"].linear.weight)[0]
    assert not gradient[:, :3].any()  # the strong view has no numbers


class ToZero(torch.nn.Module):
    kind = "tabular"

    def __init__(self, **metadata):
        super().__init__()

    def forward(self, x):
        return {**x, "numeric": torch.zeros_like(x["numeric"])}


def test_unlabelled_rows_are_worth_something():
    noise = partial(AugmentTabular, drop=0.0)
    views = {}
    for name, amount in (("weak", 0.1), ("strong", 1.0)):
        views[name] = partial(Augmentations, tabular=lambda amount=amount, **_: noise(noise=amount))
    alone = taught = 0.0
    for seed in range(4):
        data = few_labels.draw_rows(300, seed, labelled=6, spread=1.2)
        new = few_labels.draw_rows(600, 1000 + seed, spread=1.2)
        metadata = {modality: {} for modality in few_labels.KINDS}
        objective = build(**views, metadata=metadata, threshold=0.8, **few_labels.KWARGS)
        supervised = few_labels.train(Task(few_labels.TASKS), few_labels.build_model(seed), data)
        alone += few_labels.accuracy(supervised, new) / 4
        taught += few_labels.accuracy(few_labels.train(objective, few_labels.build_model(seed), data), new) / 4
    assert taught > alone + 0.03


def test_validation_sees_inputs_and_targets_as_they_are():
    model, data = build_model(), hide_half()
    loss = build(strong=partial(Augmentations, tabular=ToZero), threshold=0.0).eval()(model, data)["loss"]
    assert loss.item() == Task(TASKS)(model, data)["loss"].item()


def test_numbers_alone_have_no_pseudo_labels():
    with pytest.raises(ConfigError) as caught:
        build(tasks={"age": TASKS["age"]})
    assert str(caught.value) == ("objective: no task predicts probabilities, which a threshold needs (there are age)")
