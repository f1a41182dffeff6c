import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.models.items import ItemEncoder
from mmrun.objectives.cutmix import CutMix
from mmrun.objectives.task import Task
from mmrun.testing.examples import KINDS, TASKS, build_batch, build_model


class Seen(Task):
    """Records the inputs that are encoded, and the targets."""

    def __init__(self, tasks, kinds):
        super().__init__(tasks, kinds)
        self.targets = []

    def encode(self, model, inputs):
        self.inputs = inputs
        return super().encode(model, inputs)

    def compute_losses(self, outputs, batch):
        self.targets.append(batch.targets)
        return super().compute_losses(outputs, batch)


def build(task=Task, kinds=KINDS, **changes):
    return CutMix(task, TASKS, kinds, **{"probability": 1.0, **changes})


def cut(seed=0, change=None):
    """Return the objective and its batch, whose image of row i has the value i everywhere."""
    data = build_batch()
    data.inputs["photo"][:] = torch.arange(8.0).view(8, 1, 1, 1)
    if change is not None:
        change(data)
    objective = build(Seen, modalities=["photo"])
    torch.manual_seed(seed)
    return objective, data, objective(build_model(), data)


def test_a_rectangle_of_each_image_is_its_partners():
    objective, data, _ = cut()
    first, second = objective.task.targets
    partner = (second["age"] * 8).round().long()  # ages tell the rows apart
    changed = objective.task.inputs["photo"] != data.inputs["photo"]
    is_mixed = partner != torch.arange(8)
    rectangle = changed[is_mixed][0]
    assert rectangle.any(2).sum() * rectangle.any(1).sum() == rectangle.sum()  # it is one
    assert all(row.equal(rectangle) for row in changed[is_mixed])  # the same in all rows
    shown = objective.task.inputs["photo"].where(changed, data.inputs["photo"][partner])
    assert shown.equal(data.inputs["photo"][partner])
    assert first is data.targets


def test_other_modalities_are_not_cut():
    objective, data, _ = cut()
    others = [name for name in KINDS if name != "photo"]
    assert all(objective.task.inputs[name] is data.inputs[name] for name in others)


def test_losses_are_mixed_by_the_area():
    objective, data, losses = cut()
    first, second = objective.task.targets
    changed = objective.task.inputs["photo"] != data.inputs["photo"]
    share = 1 - changed.flatten(1).float().mean(1).max()
    task, model = Task(TASKS, KINDS), build_model()
    outputs = task.predict(model, task.encode(model, objective.task.inputs), data.present)
    own, partners = (task.compute_losses(outputs, data._replace(targets=t))["loss"] for t in (first, second))
    assert losses["loss"].item() == pytest.approx((share * own + (1 - share) * partners).item(), rel=1e-5)


def test_rows_without_an_image_or_whose_partner_has_none_stay_as_they_are():
    def hide(data):
        data.present["photo"][:4] = False

    objective, data, _ = cut(change=hide)
    changed = (objective.task.inputs["photo"] != data.inputs["photo"]).flatten(1).any(1)
    has_other_target = objective.task.targets[1]["age"] != data.targets["age"]
    assert not changed[:4].any()
    assert not has_other_target[:4].any()
    assert (changed[4:] == has_other_target[4:]).all()


def test_rows_with_different_numbers_of_images_stay_as_they_are():
    is_real = torch.tensor([[True, row % 2 == 0] for row in range(8)])
    data, model, objective = build_batch(), build_model(), build(Seen)
    photos = torch.arange(1.0, 9.0).view(8, 1, 1, 1, 1) * is_real.view(8, 2, 1, 1, 1)
    data.inputs["photo"] = {"": photos.expand(8, 2, *data.inputs["photo"].shape[1:]), "items": is_real}
    model.encoder["photo"] = ItemEncoder(model.encoder["photo"], "pooled")
    torch.manual_seed(0)
    objective(model, data)
    shown = objective.task.inputs["photo"][""]
    pasted = shown != data.inputs["photo"][""]
    assert pasted.any()
    assert (shown[:, 1].flatten(1)[::2] > 0).all()  # no padding is pasted
    assert (shown[1::2, 1] == 0).all()  # and none is cut


def test_a_batch_is_cut_with_the_probability():
    model, data = build_model(), build_batch()
    plain = Task(TASKS)(model, data)["loss"].item()
    torch.manual_seed(0)
    losses = [build(probability=0.5)(model, data)["loss"].item() for _ in range(40)]
    assert 10 < sum(loss == pytest.approx(plain, rel=1e-6) for loss in losses) < 30


def test_validation_sees_the_rows_as_they_are():
    model, data = build_model(), build_batch()
    assert build().eval()(model, data)["loss"].item() == Task(TASKS)(model, data)["loss"].item()


def test_without_an_image_there_is_nothing_to_cut():
    with pytest.raises(ConfigError) as error:
        build(kinds={"title": "text"})
    assert (
        str(error.value)
        == "objective: CutMix needs an image or a video, and the stage reads title (text); choose mixup"
    )


def test_the_same_rectangle_of_a_video_is_cut_from_all_frames():
    data, objective = build_batch(), build(Seen, modalities=["clip"])
    torch.manual_seed(0)
    objective(build_model(), data)
    assert objective.task.inputs["photo"] is data.inputs["photo"]
    changed = (objective.task.inputs["clip"] != data.inputs["clip"]).any(2)  # [B, T, H, W]
    assert changed.any()
    assert (changed == changed[:, :1]).all()


def test_images_cut_apart_have_partners_of_their_own():
    data, objective = build_batch(), build(Seen, modalities=["photo", "clip"], joint=False)
    torch.manual_seed(1)
    objective(build_model(), data)
    _, partners_of_photo, partners_of_clip = (targets["age"] for targets in objective.task.targets)
    assert not partners_of_photo.equal(partners_of_clip)


def test_rows_that_were_cut_are_counted():
    objective, data, _ = cut()
    changed = (objective.task.inputs["photo"] != data.inputs["photo"]).flatten(1).any(1)
    objective.on_step_end(build_model())
    assert objective.synthetic.total.item() == changed.sum().item()


def test_what_has_no_rectangle_is_refused():
    with pytest.raises(ConfigError) as error:
        build(modalities=["photo", "title"])
    assert str(error.value) == "objective.modalities: CutMix cuts images and videos, not title (text)"
