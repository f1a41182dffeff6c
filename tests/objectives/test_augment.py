"""Augmented inputs: the contract of every YAML, each kind on literal cases, and the effect on accuracy."""

import copy
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mmrun.compose import list_options, load_option
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.objectives.augment import AugmentAudio, AugmentImage, AugmentSeries, AugmentTabular, AugmentText
from mmrun.objectives.task import Task
from mmrun.objectives.views import random_crop
from mmrun.testing.examples import KINDS, METADATA, TASKS, build_batch, build_model
from mmrun.types import Objective

NAMES = [name for name in list_options("augment") if name != "none"]


class Seen(Objective):
    """Records the batch that it gets, and the arguments of backward."""

    def forward(self, model, batch):
        self.batch = batch
        return {"loss": torch.zeros(())}

    def backward(self, model, losses, scale):
        self.backward_args = (model, losses, scale)


def build(name, objective, kinds=KINDS):
    return instantiate(
        load_option("augment", name), "augment", {"kinds": kinds, "metadata": METADATA}, objective=objective
    )


def get_seen_batch(name, data, seed=0):
    """Return the batch that the wrapped objective sees."""
    augment = build(name, Seen())
    torch.manual_seed(seed)
    augment(None, data)
    return augment.objective.batch


def get_parts(x):
    return x if isinstance(x, dict) else {"": x}


def flatten_inputs(data):
    return {(m, name): tensor for m, x in data.inputs.items() for name, tensor in get_parts(x).items()}


def test_all_augmentations_are_found():
    assert NAMES == ["light", "strong"]


@pytest.mark.parametrize("name", NAMES)
def test_every_modality_is_changed_and_nothing_but_its_values(name):
    data = build_batch()
    before, augmented = copy.deepcopy(data), get_seen_batch(name, data)
    for key, tensor in flatten_inputs(before).items():
        assert flatten_inputs(data)[key].equal(tensor)  # the batch itself is not changed
        new = flatten_inputs(augmented)[key]
        assert (new.shape, new.dtype) == (tensor.shape, tensor.dtype)
        if key[1] in ("length", "mask"):
            assert new.equal(tensor)
    for modality in KINDS:
        original, changed = get_parts(data.inputs[modality]), get_parts(augmented.inputs[modality])
        assert augmented.inputs[modality] is not data.inputs[modality]
        assert any(not original[part].equal(changed[part]) for part in original)
    assert augmented[1:] == data[1:]


@pytest.mark.parametrize("name", NAMES)
def test_values_stay_in_their_range_and_padding_is_padding(name):
    data = build_batch()
    data.inputs["sound"]["waveform"][1::2, 900:] = 0
    data.inputs["sensor"]["values"][:, :, 9:] = 0
    augmented = get_seen_batch(name, data).inputs
    assert 0 <= augmented["photo"].min() < augmented["photo"].max() <= 1
    assert -1 <= augmented["sound"]["waveform"].min() < augmented["sound"]["waveform"].max() <= 1
    assert not augmented["sound"]["waveform"][1::2, 900:].any()
    assert not augmented["sensor"]["values"][:, :, 9:].any()
    real = data.inputs["title"]["mask"]
    assert augmented["title"]["ids"][~real].equal(data.inputs["title"]["ids"][~real])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_and_another_another_in_half_precision_too(name):
    first, again, different = (flatten_inputs(get_seen_batch(name, build_batch(), seed)) for seed in (0, 0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        half = flatten_inputs(get_seen_batch(name, build_batch()))
    assert all(first[key].equal(again[key]) and first[key].equal(half[key]) for key in first)
    assert any(not first[key].equal(different[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_validation_sees_the_rows_as_they_are(name):
    learner, data = build_model(), build_batch()
    augment = build(name, Task(TASKS)).eval()
    expected = Task(TASKS)(learner, data)
    assert augment(learner, data) == expected
    assert augment.train()(learner, data)["loss"] != expected["loss"]


@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_the_device(name):
    learner, data, augment = build_model(), build_batch(), build(name, Task(TASKS))
    with FakeTensorMode(allow_non_fake_inputs=True):  # tensors without values: nothing can depend on one
        augment(learner, data)["loss"].backward()


def test_gradients_are_those_of_the_wrapped_objective():
    augment = build("light", Seen())
    backward_args = (object(), {}, len)
    augment.backward(*backward_args)
    assert augment.objective.backward_args == backward_args
    assert list(augment.state_dict()) == []


def test_a_kind_without_anything_keeps_its_own_input():
    node: Any = load_option("augment", "light")
    del node["by_kind"]["text"]
    augment = instantiate(node, "augment", {"kinds": KINDS, "metadata": METADATA}, objective=Seen())
    data = build_batch()
    augment(None, data)
    assert augment.objective.batch.inputs["title"] is data.inputs["title"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: AugmentImage(0.0, 0.0, 0.2), "augment.by_kind.image.crop: 0.0 is not above 0"),
        (lambda: AugmentImage(0.8, 0.0, 1.2), "augment.by_kind.image.jitter: 1.2 is not between 0 and 1"),
        (lambda: AugmentAudio(0.1, -3.0, 20.0), "augment.by_kind.audio.gain: -3.0 is below 0"),
    ],
)
def test_a_value_out_of_range_is_refused(made, message):
    with pytest.raises(ConfigError) as error:
        made()
    assert str(error.value) == message


# -------------------------------------------------------------------------------------------------------- by kind


@pytest.mark.parametrize("least", [0.3, 0.9])
def test_a_crop_shows_at_least_the_share_of_the_area_that_it_says(least):
    torch.manual_seed(0)
    across = ((torch.arange(64) + 0.5) / 64).expand(1000, 1, 64, 64)
    view = random_crop(torch.cat([across, across.mT], 1), least)
    inner = (view[:, 0, 0, 50] - view[:, 0, 0, 13]) * 64 / 37, (view[:, 1, 50, 0] - view[:, 1, 13, 0]) * 64 / 37
    area = inner[0] * inner[1]  # of sides measured away from the border
    assert area.min() == pytest.approx(least, abs=0.01)
    assert area.max() == pytest.approx(1, abs=0.01)


def test_pictures_at_zero_are_as_they_were():
    x = torch.rand(4, 3, 9, 7)
    assert torch.allclose(AugmentImage(1.0, 0.0, 0.0)(x), x, atol=1e-5)
    assert torch.allclose(AugmentImage(1.0, 1.0, 0.0)(x), x.flip(3), atol=1e-5)


def test_a_sound_moves_within_its_length():
    torch.manual_seed(0)
    waveform = torch.zeros(200, 20)
    waveform[:, 4] = 0.5
    length = torch.full((200,), 10)
    moved = AugmentAudio(0.3, 0.0, 200.0)({"waveform": waveform, "length": length})["waveform"].round(decimals=3)
    assert set(moved.argmax(1).tolist()) == {1, 2, 3, 4, 5, 6, 7}
    assert moved.sum(1).tolist() == pytest.approx([0.5] * 200)


def test_what_leaves_a_sound_does_not_come_back_and_its_volume_is_its_own():
    torch.manual_seed(0)
    x = {"waveform": torch.full((500, 10), 0.1), "length": torch.full((500,), 10)}
    gone = AugmentAudio(1.0, 0.0, 200.0)(x)["waveform"].round(decimals=3)
    assert gone.unique().tolist() == pytest.approx([0.0, 0.1])
    assert (gone == 0).any(1).float().mean() > 0.9
    loud = AugmentAudio(0.0, 6.0, 200.0)(x)["waveform"]
    assert loud.std(1).max() < 1e-6
    assert (loud.min().item(), loud.max().item()) == pytest.approx((0.0501, 0.1995), rel=0.01)


def test_noise_is_as_far_below_the_sound_as_it_says():
    torch.manual_seed(0)
    x = {"waveform": 0.1 * torch.randn(200, 2000), "length": torch.full((200,), 2000)}
    noise = AugmentAudio(0.0, 0.0, 20.0)(x)["waveform"] - x["waveform"]
    ratio = noise.std(1) / x["waveform"].std(1)
    assert ratio.max() == pytest.approx(0.1, abs=0.01)
    assert ratio.mean() == pytest.approx(0.05, abs=0.01)
    silence = {"waveform": torch.zeros(2, 50), "length": torch.tensor([50, 0])}
    assert not AugmentAudio(0.1, 3.0, 20.0)(silence)["waveform"].any()


def test_words_are_hidden_and_marks_are_not():
    x = {"ids": torch.tensor([[2, 7, 8, 3, 0]] * 1000), "mask": torch.tensor([[True] * 4 + [False]] * 1000)}
    hidden = AugmentText(1.0, mask_id=4, special_ids=[0, 1, 2, 3, 4])(x)
    assert hidden["ids"].unique(dim=0).tolist() == [[2, 4, 4, 3, 0]]
    every_word = AugmentText(1.0, mask_id=4)(x)  # without special ids every token is a word
    assert every_word["ids"][0].tolist() == [4, 4, 4, 4, 0]
    torch.manual_seed(0)
    some = AugmentText(0.2, 4, [0, 1, 2, 3, 4])(x)["ids"]
    assert (some == 4).float().sum().item() / 2000 == pytest.approx(0.2, abs=0.03)


def test_cells_go_missing_and_numbers_that_are_missing_stay_so():
    x = {
        "numeric": torch.tensor([[1.0, 0.0]]),
        "missing": torch.tensor([[False, True]]),
        "categorical": torch.tensor([[3]]),
    }
    noisy = AugmentTabular(0.1, 0.0)(x)
    assert noisy["numeric"][0, 0] != 1
    assert (noisy["numeric"][0, 1].item(), noisy["missing"].tolist()) == (0.0, [[False, True]])
    gone = AugmentTabular(0.1, 1.0)(x)
    assert [gone[part].tolist() for part in x] == [[[0.0, 0.0]], [[True, True]], [[0]]]


def test_a_series_loses_one_span_and_each_channel_its_scale():
    torch.manual_seed(0)
    x = {"values": torch.ones(300, 2, 20), "mask": (torch.arange(20) < 10).expand(300, 20)}
    changed = AugmentSeries(0.0, 0.5, 0.4)(x)["values"]
    assert not changed[:, :, 10:].any()
    lost = changed[:, 0, :10] == 0
    assert set(lost.sum(1).tolist()) == {0, 1, 2, 3, 4}
    assert (lost.int().diff(dim=1) == 1).sum(1).max() <= 1  # it is in one piece
    assert lost.any(0).all()  # and anywhere
    scale = changed.amax(2)
    assert (scale.min().item(), scale.max().item()) == pytest.approx((0.5, 1.5), abs=0.01)
    assert not torch.allclose(scale[:, 0], scale[:, 1])


# ----------------------------------------------------------------------------------------------- accuracy


def train_and_shift(change):
    """Train on a hundred images of ten digits; return the accuracy on images shifted by a pixel."""
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
    y = torch.from_numpy(digits.target)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(change(x[:100])), y[:100]).backward()
        optimizer.step()
    moved = torch.cat([x[100:].roll(by, side) for by in (-1, 1) for side in (2, 3)])
    return (net(moved).argmax(1) == y[100:].repeat(4)).float().mean().item()


def test_crops_are_worth_something_where_pictures_move():
    plain, augmented = train_and_shift(lambda x: x), train_and_shift(AugmentImage(0.4, 0.0, 0.0))
    assert augmented > plain + 0.1


def test_the_largest_crop_is_not_below_the_smallest():
    with pytest.raises(ConfigError) as caught:
        AugmentImage(0.5, 0.0, 0.0, max_crop=0.4)
    assert str(caught.value) == "max_crop=0.4 is below crop=0.5"


def test_grey_pictures():
    view = AugmentImage(1.0, 0.0, 0.0, gray=1.0)(torch.rand(4, 3, 8, 8))
    assert torch.allclose(view[:, 0], view[:, 1], atol=1e-6)
