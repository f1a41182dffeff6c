"""Frame order: half of the videos are shuffled, and an encoder that ignores the order is refused."""

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.models.encoders.image import Cnn
from mmrun.models.encoders.video import FrameEncoder
from mmrun.objectives.frame_order import FrameOrder
from mmrun.types import Features
from tests.objectives.single import PRESENT


def build_encoder(temporal):
    return FrameEncoder(lambda: Cnn(1, (8,), (3,)), num_frames=3, temporal=temporal)


def test_half_of_the_videos_are_shuffled_and_none_of_these_is_in_order():
    torch.manual_seed(0)
    numbered = torch.arange(3.0).view(1, 3, 1, 1, 1).expand(200, 3, 1, 2, 2)
    shuffled, in_order = FrameOrder(8, 1, 2, 3).corrupt(numbered, PRESENT)
    numbers = shuffled[:, :, 0, 0, 0]
    assert in_order.sum() == 100
    assert torch.equal((numbers == torch.arange(3)).all(1), in_order.bool())
    assert torch.equal(numbers.sort(1).values, torch.arange(3.0).expand(200, 3))


def test_the_loss_is_that_of_two_classes():
    pretext = FrameOrder(1, 1, 2, 3)
    torch.nn.init.ones_(pretext.classifier.weight)
    torch.nn.init.zeros_(pretext.classifier.bias)
    loss = pretext.loss(Features(torch.tensor([[0.0], [2.0], [-2.0]])), torch.tensor([1.0, 1.0, 0.0]))
    assert loss.tolist() == pytest.approx([0.6931, 0.1269, 0.1269], abs=1e-4)


def test_an_encoder_that_ignores_the_order_is_refused():
    pretext = FrameOrder(8, 1, 8, 3)
    pretext.check(build_encoder("gru"), "encoder.clip")
    with pytest.raises(ConfigError) as caught:
        pretext.check(build_encoder("mean"), "encoder.clip")
    assert str(caught.value) == (
        "encoder.clip: its features do not depend on the order of the frames, which frame_order learns; set "
        "encoder.clip.temporal=gru, or choose pretext masked_frames"
    )


def test_two_frames_are_too_few():
    with pytest.raises(ConfigError) as caught:
        FrameOrder(8, 1, 8, 2)
    assert str(caught.value) == (
        "objective.by_kind.video: 2 frames have no order; set preprocess.num_frames to 3 or more"
    )
