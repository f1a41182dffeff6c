"""Encoders of videos: those that read the order of frames learn what no single frame shows."""

import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.hf_video import HfVideo
from mmrun.models.encoders.image import Cnn
from mmrun.models.encoders.series import Cnn1d
from mmrun.models.encoders.video import Cnn3d, FrameEncoder, FrameMaxPool

FRAMES, SIZE = 5, 8


def build_cnn():
    return Cnn(1, channels=(8, 16), kernels=(3, 3))


def build_frame_encoder(temporal):
    return FrameEncoder(build_cnn, FRAMES, temporal)


def make_moving_dots(rows, seed):
    """A dot moves to the left or to the right around a ring; the label says which. All places are equally likely."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(rows) % 2
    start = torch.randint(0, SIZE, (rows, 1), generator=generator)
    line = torch.randint(0, SIZE, (rows, 1), generator=generator)
    column = (start + (2 * label[:, None] - 1) * torch.arange(FRAMES)) % SIZE
    videos = torch.zeros(rows, FRAMES, 1, SIZE, SIZE)
    videos[torch.arange(rows)[:, None], torch.arange(FRAMES), 0, line, column] = 1
    return videos, label


def measure_accuracy(build, steps, read=lambda videos: videos):
    torch.manual_seed(0)
    encoder = build()
    head = nn.Linear(encoder.dim, 2)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 1e-2)
    for step in range(steps):
        videos, label = make_moving_dots(64, seed=step)
        loss = nn.functional.cross_entropy(head(encoder(read(videos)).pooled), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    videos, label = make_moving_dots(512, seed=steps)
    encoder.eval()
    with torch.no_grad():
        return (head(encoder(read(videos)).pooled).argmax(1) == label).float().mean().item()


@pytest.mark.parametrize(
    ("build", "steps"),
    [
        (lambda: build_frame_encoder("gru"), 60),
        (lambda: build_frame_encoder("attention"), 120),
        (lambda: Cnn3d(1, channels=(8, 16), kernels=(3, 3)), 60),
    ],
)
def test_a_direction_of_motion_is_learned(build, steps):
    assert measure_accuracy(build, steps) >= 0.95


def test_neither_a_single_frame_nor_the_mean_of_frames_shows_a_direction():
    assert measure_accuracy(build_cnn, 60, read=lambda videos: videos[:, FRAMES // 2]) <= 0.6
    assert measure_accuracy(lambda: build_frame_encoder("mean"), 60) <= 0.6


def test_the_mean_is_that_of_the_image_encoder_on_each_frame():
    encoder = build_frame_encoder("mean").eval()
    videos, _ = make_moving_dots(2, seed=0)
    frames = torch.stack([encoder.frame(frame).pooled for frame in videos.unbind(1)], 1)
    features = encoder(videos)
    torch.testing.assert_close(features.tokens, frames)
    torch.testing.assert_close(features.pooled, frames.mean(1))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError) as caught:
        FrameEncoder(lambda: Cnn1d(1), FRAMES)
    assert str(caught.value) == "frame: Cnn1d encodes no images; choose an image encoder"
    with pytest.raises(ConfigError) as caught:
        FrameEncoder(build_cnn, FRAMES, temporal="max")
    assert str(caught.value) == "temporal='max': choose mean, attention or gru"


def test_a_transformer_says_which_videos_it_reads(tiny):
    with pytest.raises(ConfigError) as caught:
        HfVideo(tiny("videomae"), in_channels=3, image_size=32, num_frames=8)
    start = f"{tiny('videomae')} cannot read 8 frames of 3 x 32 x 32 pixels; it was trained with 4 of 32: set "
    assert str(caught.value).startswith(start + "preprocess.num_frames and preprocess.size (")


def test_frames_are_pooled_as_by_torch_in_three_dimensions():
    x = torch.randn(2, 3, 4, 5, 7)
    assert FrameMaxPool()(x).equal(nn.MaxPool3d((1, 2, 2), ceil_mode=True)(x))
