"""DINO: its loss by hand, its schedules and its centre, and what it is worth."""

import math

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.objectives.augmentations.image import AugmentImage
from mmrun.objectives.dino import Dino, cross_view_entropy
from mmrun.testing.examples import DIM, KINDS, METADATA, build_batch, build_model
from mmrun.training.grad_accumulation import split
from tests.objectives.digits import draw_digit_view, load_images, pretrain
from tests.objectives.single import SelfSupervised
from tests.options import load_option


def test_each_view_is_predicted_from_every_other_one_and_never_from_itself():
    sure_of_a, sure_of_b = [1.0, 0.0], [0.0, 1.0]
    teacher = torch.tensor([[sure_of_a], [sure_of_b]])
    student = torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]], [[0.125, 0.875]]]).log()  # the third view is local
    pairs = [math.log(4), math.log(8), math.log(2), math.log(8 / 7)]  # a-second, a-local, b-first, b-local
    assert cross_view_entropy(teacher, student).tolist() == pytest.approx([sum(pairs) / 4])


def build(**changes):
    return Dino(DIM, lambda: AugmentImage(0.5, 0.5, 0.4), num_prototypes=8, **changes)


def test_the_prototypes_have_length_one():
    head = build().head
    pooled = torch.randn(3, DIM)
    before = head(pooled)
    with torch.no_grad():
        head.prototypes.mul_(7.0)
    torch.testing.assert_close(head(pooled), before)
    assert before.abs().max() <= 1


def test_the_teacher_follows_more_and_more_slowly_and_its_temperature_warms_up():
    pretext, encoder = (
        build(decay=0.9, initial_temperature=0.02, teacher_temperature=0.06, warmup=0.5),
        torch.nn.Linear(1, 1),
    )
    pretext.attach(encoder)
    rates, temperatures = [], []
    for progress in (0.0, 0.25, 0.5, 1.0):
        pretext.set_progress(progress)
        with torch.no_grad():
            encoder.weight.fill_(1.0)
            pretext.teacher_encoder.module.weight.fill_(0.0)
        pretext.update(encoder)
        rates.append(pretext.teacher_encoder.module.weight.item())
        temperatures.append(pretext.warm_up(0.02, 0.06, 0.5).item())
    assert rates == pytest.approx([0.1, 0.1 * (1 + math.cos(math.pi / 4)) / 2, 0.05, 0.0], abs=1e-6)
    assert temperatures == pytest.approx([0.02, 0.04, 0.06, 0.06])


def test_the_centre_is_that_of_the_present_rows_of_the_whole_batch_however_it_is_split():
    centers = []
    for micro_batches in (1, 4):
        model, batch = build_model("photo"), build_batch("photo")
        batch.present["photo"][0] = False
        torch.manual_seed(0)
        by_kind = {"image": lambda dim, **_: Dino(dim, torch.nn.Identity, num_prototypes=8)}  # views that do not differ
        objective = SelfSupervised(by_kind, {"photo": "image"}, {"photo": DIM}, 6, METADATA, model)
        for part in split(batch, micro_batches):
            objective(model, part)
        before = objective.pretext["photo"].center.clone()
        objective.on_step_end(model)
        centers.append(objective.pretext["photo"].center)
        assert not before.any()
    torch.testing.assert_close(centers[0], centers[1])
    outputs = objective.pretext["photo"].teacher_head(model.encoder["photo"](batch.inputs["photo"][1:]).pooled)
    torch.testing.assert_close(centers[0], 0.1 * outputs.mean(0))


def test_validation_does_not_move_the_centre():
    pretext = build().eval()
    pretext.attach(build_model("photo").encoder["photo"])
    pretext.corrupt(torch.rand(2, 1, 8, 8), torch.ones(2, dtype=torch.bool))
    pretext.update(build_model("photo").encoder["photo"])
    assert not pretext.center.any()


def test_local_views_show_a_small_part_and_only_the_student_sees_them():
    torch.manual_seed(0)
    pretext = Dino(
        DIM, lambda: AugmentImage(0.9, 0.0, 0.0), lambda: AugmentImage(0.1, 0.0, 0.0, max_crop=0.2), 2, num_prototypes=8
    )
    pretext.attach(build_model("photo").encoder["photo"])
    ramp = torch.linspace(0, 1, 8).expand(20, 1, 8, 8)
    views, target = pretext.corrupt(ramp, torch.ones(20, dtype=torch.bool))
    ranges = (views.amax((1, 2, 3)) - views.amin((1, 2, 3))).view(4, 20)
    assert target.shape == (2, 20, 8)
    assert ranges[:2].min() > 0.75
    assert ranges[2:].max() < 0.6


@pytest.mark.parametrize("modality", KINDS)
def test_two_views_of_every_kind_differ(modality):
    node = load_option(f"pretext/{KINDS[modality]}", "dino")
    pretext = instantiate(node, "objective.by_kind.x", {"dim": DIM, **METADATA[modality]})
    pretext.attach(build_model(modality).encoder[modality])
    views, _ = pretext.corrupt(build_batch(modality).inputs[modality], torch.ones(8, dtype=torch.bool))
    parts = views.values() if isinstance(views, dict) else [views]
    assert any(not torch.equal(part[:8], part[8:16]) for part in parts)


def test_digits_never_labelled_spread_over_the_prototypes_and_their_features_get_better():
    def build_dino(dim):
        return Dino(dim, draw_digit_view, teacher_temperature=0.025, initial_temperature=0.025)

    _, pretext, gain = pretrain(build_dino, steps=150, rows=64, lr=1e-3)
    images, _ = load_images()
    _, assigned = pretext.corrupt(images, torch.ones(len(images), dtype=torch.bool))
    mean_entropy = -(assigned * (assigned + 1e-9).log()).sum(-1).mean()
    mean = assigned.mean((0, 1))
    entropy_of_mean = -(mean * (mean + 1e-9).log()).sum()
    assert gain > 0.04
    assert entropy_of_mean > 0.9 * math.log(256)  # no collapse onto a few prototypes
    assert mean_entropy < 0.98 * entropy_of_mean  # nor onto the same distribution for all rows


def test_local_views_need_something_that_draws_them():
    with pytest.raises(ConfigError) as caught:
        build(num_local=2)
    assert str(caught.value) == "num_local=2 needs a local_view, which draws them; add it, or set num_local to 0"
