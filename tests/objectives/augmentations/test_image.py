import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from mmrun.errors import ConfigError
from mmrun.objectives.augmentations.image import (
    AugmentImage,
    blur,
    draw_rectangles,
    erase,
    rotate_and_scale,
    transform,
)


def build_point(row, column, size=9):
    """Return a black image with one white pixel."""
    x = torch.zeros(1, 1, size, size)
    x[0, 0, row, column] = 1
    return x


def find_points(x):
    return [tuple(place.tolist()) for place in x[:, 0].nonzero()]


def test_images_at_zero_are_as_they_were():
    x = torch.rand(4, 3, 9, 7)
    assert AugmentImage()(x) is x
    assert torch.allclose(AugmentImage(flip=1.0)(x), x.flip(3), atol=1e-5)


def test_a_transform_reads_at_the_position_that_the_matrix_gives():
    quarter_turn = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
    turned = transform(build_point(0, 4), quarter_turn, torch.zeros(1, 2))
    assert find_points(turned.round()) == [(0, 4, 0)]
    shifted = transform(build_point(4, 4), torch.eye(2).unsqueeze(0), torch.tensor([[2.0, 1.0]]))
    assert find_points(shifted.round()) == [(0, 3, 2)]


def test_beyond_the_border_is_black_or_the_nearest_pixel():
    x, offset = torch.ones(1, 1, 4, 4), torch.tensor([[2.0, 0.0]])
    matrix = torch.eye(2).unsqueeze(0)
    assert transform(x, matrix, offset)[0, 0, 0].tolist() == [1, 1, 0, 0]
    assert transform(x, matrix, offset, "border")[0, 0, 0].tolist() == [1, 1, 1, 1]


def test_rotations_stay_within_their_angle():
    torch.manual_seed(0)
    upper_half = torch.zeros(500, 1, 33, 33)
    upper_half[:, :, :16] = 1
    turned = rotate_and_scale(upper_half, 20.0, 0.0)[:, 0]
    left, right = turned[:, :, 0].sum(1), turned[:, :, -1].sum(1)  # where the edge meets the sides
    angle = torch.rad2deg(torch.atan((left - right) / 32))
    assert (angle.min().item(), angle.max().item()) == pytest.approx((-20, 20), abs=1)


def test_sizes_change_as_much_as_they_say_in_both_directions():
    torch.manual_seed(0)
    square = torch.zeros(500, 1, 64, 64)
    square[:, :, 20:44, 20:44] = 1
    side = rotate_and_scale(square, 0.0, 0.25).sum((1, 2, 3)).sqrt()
    assert (side.min().item(), side.max().item()) == pytest.approx((24 / 1.25, 24 * 1.25), rel=0.03)


def test_a_blur_keeps_the_light_and_has_the_width_of_its_row():
    x = build_point(10, 10, 21).expand(2, 3, -1, -1)
    blurred = blur(x, torch.tensor([0.0, 2.0]))
    assert torch.allclose(blurred[0], x[0], atol=1e-6)
    profile = blurred[1, 0].sum(0)
    assert profile.sum().item() == pytest.approx(1, abs=1e-3)
    variance = (profile * (torch.arange(21) - 10).square()).sum()
    assert variance.sqrt().item() == pytest.approx(2, abs=0.05)
    assert torch.allclose(blur(torch.ones(1, 1, 5, 5), torch.tensor([3.0])), torch.ones(1, 1, 5, 5))


def test_noise_is_as_large_as_it_says():
    torch.manual_seed(0)
    deviation = AugmentImage(noise=0.1)(torch.full((500, 1, 16, 16), 0.5)).flatten(1).std(1)
    assert deviation.max().item() == pytest.approx(0.1, abs=0.015)
    assert deviation.mean().item() == pytest.approx(0.05, abs=0.005)


def test_a_rectangle_of_at_most_the_area_is_erased():
    torch.manual_seed(0)
    is_erased = erase(torch.full((500, 1, 64, 64), 2.0), 0.25)[:, 0] < 2
    area = is_erased.flatten(1).float().mean(1)
    assert area.max().item() == pytest.approx(0.25, abs=0.02)
    assert area.mean().item() == pytest.approx(0.125, abs=0.02)
    assert is_erased.any(0).float().mean() > 0.97  # anywhere
    height, width = is_erased.any(2).sum(1), is_erased.any(1).sum(1)
    assert (height * width == is_erased.sum((1, 2))).all()  # in one piece


def test_rectangles_are_cut_at_the_border():
    half = torch.tensor([0.5])
    rectangle = draw_rectangles(torch.tensor([0.0]), half, half, half, (4, 4))
    assert rectangle[0, 0].int().tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


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


def test_crops_are_worth_something_where_images_move():
    plain, augmented = train_and_shift(lambda x: x), train_and_shift(AugmentImage(0.4))
    assert augmented > plain + 0.1


def test_the_largest_crop_is_not_below_the_smallest():
    with pytest.raises(ConfigError) as caught:
        AugmentImage(0.5, max_crop=0.4)
    assert str(caught.value) == "max_crop=0.4 is below crop=0.5"


def test_grey_images_have_equal_channels():
    view = AugmentImage(gray=1.0)(torch.rand(4, 3, 8, 8))
    assert torch.allclose(view[:, 0], view[:, 1], atol=1e-6)
