"""Random views of images."""

import torch

from mmrun.objectives.views import color_jitter, random_crop

RAMP = torch.linspace(0, 1, 16).expand(8, 3, 16, 16)  # grows from left to right


def test_a_crop_of_the_whole_area_is_the_image():
    torch.testing.assert_close(random_crop(RAMP, min_area=1.0), RAMP)


def test_a_mirrored_image_falls_from_left_to_right():
    torch.testing.assert_close(random_crop(RAMP, min_area=1.0, flip=1.0), RAMP.flip(3))


def test_a_crop_shows_a_part_and_each_image_another():
    torch.manual_seed(0)
    spans = random_crop(RAMP, min_area=0.25)[:, 0, 8]
    assert (spans.amax(1) - spans.amin(1)).max() < 1
    assert len(spans[:, 0].unique()) > 1


def test_without_jitter_an_image_stays():
    torch.testing.assert_close(color_jitter(RAMP, jitter=0.0), RAMP)


def test_a_grey_image_has_equal_channels():
    colours = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    grey = color_jitter(colours, jitter=0.0, gray=1.0)
    torch.testing.assert_close(grey[:, 0], grey[:, 1])
    torch.testing.assert_close(grey.mean(1), colours.mean(1))
    one_channel = colours[:, :1]
    torch.testing.assert_close(color_jitter(one_channel, jitter=0.0, gray=1.0), one_channel)


def test_a_crop_shows_no_more_than_the_largest_share():
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 64).expand(200, 1, 64, 64)
    view = random_crop(ramp, 0.04, max_area=0.09)
    width = view[:, 0, 0, -1] - view[:, 0, 0, 0]
    assert width.max() < (0.09 * 4 / 3) ** 0.5 + 0.02
