"""Fusions that weigh modalities by how sure they are."""

import math

import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.dynamic import Pdf, SharedHead, compute_calibration, compute_co_belief
from mmrun.models.fusions.late import Late
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.task import Task
from mmrun.tasks.regression import Regression
from mmrun.testing.examples import TASKS, build_batch, build_model
from mmrun.types import Features
from tests.models.fusions.rows import DIMS, NO, YES
from tests.models.fusions.test_late import measure_accuracy_with_noise

TWO_DIMS = {"image": 2, "text": 2}
LABEL = {"label": TASKS["label"]}


def set_to_identity(linear):
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)


def test_a_shared_head_weighs_logits_by_exp_of_their_negative_entropy():
    module = SharedHead(TWO_DIMS, num_outputs=2, dim=2)
    for linear in (*module.project.values(), module.classifier):
        set_to_identity(linear)
    image, text = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[0.0, 0.0]])
    entropies = -0.75 * math.log(0.75) - 0.25 * math.log(0.25), math.log(2.0)
    share = 1 / (1 + math.exp(entropies[0] - entropies[1]))
    features, yes = {"image": Features(image), "text": Features(text)}, torch.tensor([True])
    torch.testing.assert_close(module(features, {"image": yes, "text": yes}), share * image)
    torch.testing.assert_close(module(features, {"image": yes, "text": ~yes}), image)


def test_co_belief_adds_mono_and_holo_confidence():
    confidence = torch.tensor([[0.5, 0.25]])
    scores, both = confidence.logit(), torch.tensor([[True, True]])
    expected = torch.tensor([[0.5 + 2 / 3, 0.25 + 1 / 3]])  # log 0.25 is twice log 0.5
    torch.testing.assert_close(compute_co_belief(scores, both), expected)
    torch.testing.assert_close(compute_co_belief(scores, torch.tensor([[True, False]]))[0, 0], torch.tensor(0.5))


def test_calibration_reduces_what_is_closer_to_uniform_than_the_others():
    logits = torch.tensor([[[math.log(9.0), 0.0], [math.log(3.0), 0.0]]])  # probabilities 0.9 and 0.75
    mask = torch.tensor([[True, True]])
    torch.testing.assert_close(compute_calibration(logits, mask), torch.tensor([[1.0, 0.25 / 0.4]]))
    torch.testing.assert_close(compute_calibration(logits, torch.tensor([[False, True]]))[0, 1], torch.tensor(1.0))


def test_pdf_is_calibrated_in_evaluation_alone():
    module = Pdf(TWO_DIMS, num_outputs=2)
    features = {"image": Features(torch.randn(2, 2)), "text": Features(torch.randn(2, 2))}
    present = {"image": YES, "text": YES}
    assert not module.train()(features, present).equal(module.eval()(features, present))
    alone = {"image": YES, "text": NO}
    assert module.train()(features, alone).equal(module.eval()(features, alone))


def build_pdf(tasks):
    model = build_model("photo", "sound")
    return Multimodal(dict(model.encoder.items()), Pdf({"photo": 12, "sound": 12}, num_outputs=3), tasks)


def test_objectives_teach_each_classifier_and_its_confidence():
    model, batch = build_pdf(LABEL), build_batch("photo", "sound")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    objective = Task(LABEL)
    for _ in range(150):
        optimizer.zero_grad()
        objective(model, batch)["loss"].backward()
        optimizer.step()
    features = model.encode(batch.inputs)
    for decision in model.fusion.decide_alone(features, batch.present).values():
        truth = decision.logits.softmax(1).gather(1, batch.targets["label"].unsqueeze(1)).squeeze(1)
        assert (decision.confidence - truth).abs().mean() < 0.1
        assert truth.mean() > 0.8


def test_a_missing_modality_teaches_nothing():
    model, batch = build_pdf(LABEL), build_batch("photo", "sound")
    batch.present["sound"][:] = False
    losses = Task(LABEL)(model, batch)
    assert losses["loss/decision.sound"].item() == 0.0
    assert losses["loss/decision.photo"].item() > 0.0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pdf_is_more_robust_than_the_average_to_a_modality_of_noise(seed):
    accuracies = []
    for fusion in (Late, Pdf):
        torch.manual_seed(seed)
        accuracies.append(measure_accuracy_with_noise(fusion({"image": 8, "text": 8}, num_outputs=4)))
    assert accuracies[1] > accuracies[0] + 0.01


def test_numbers_are_refused():
    for fusion, name in ((SharedHead, "mla"), (Pdf, "pdf")):
        with pytest.raises(ConfigError) as caught:
            fusion(DIMS, num_outputs=1)
        assert str(caught.value) == (
            f"fusion: {name} needs several outputs, of classes or labels, and the task has one; choose another fusion"
        )


def test_several_numbers_are_refused_before_the_first_step():
    sizes = Regression("sizes", ["x", "y", "z"], torch.zeros(3).numpy(), torch.ones(3).numpy())
    batch = build_batch("photo", "sound")._replace(targets={"sizes": torch.zeros(8, 3)})
    with pytest.raises(ConfigError) as caught:
        Task({"sizes": sizes})(build_pdf({"sizes": sizes}), batch)
    assert str(caught.value) == (
        "fusion: it learns how probable the true class is, and 'sizes' is a regression; choose another fusion"
    )
