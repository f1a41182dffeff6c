"""Encoders of point clouds, on clouds of a known structure."""

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.models.encoders.image import Cnn
from mmrun.models.encoders.points import (
    BirdsEyeView,
    PointNet,
    PointNet2,
    SetAbstraction,
    measure_distances,
    sample_farthest,
)

LINE = torch.tensor([[[0.0, 1.0, 2.0, 4.0, 9.0, 50.0], [0.0] * 6, [0.0] * 6]])  # the last point is padding
MASK = torch.tensor([[True] * 5 + [False]])


def build_map(**changes):
    return BirdsEyeView(3, lambda in_channels, image_size: Cnn(in_channels, (4,), (3,)), **changes)


def test_farthest_points_are_drawn_one_by_one():
    assert sample_farthest(LINE, MASK, 4).tolist() == [[4, 0, 3, 2]]


def test_a_center_reads_only_the_points_in_its_ball():
    level = SetAbstraction(0, 2, 1.5, 3, 8).eval()
    moved = LINE.clone()
    moved[0, 0, 3] = 5.5  # neither in the ball around 0 nor in that around 9
    before, after = (level(line, line[:, :0], MASK) for line in (LINE, moved))
    assert before[0].tolist() == [[[9.0, 0.0], [0.0, 0.0], [0.0, 0.0]]]
    assert torch.equal(before[1], after[1])
    moved[0, 0, 1] = 0.5
    assert not torch.equal(level(moved, moved[:, :0], MASK)[1][..., 1], after[1][..., 1])


def test_distances_are_squared():
    assert measure_distances(LINE[..., :2], LINE[..., 2:4]).tolist() == [[[4, 16], [1, 9]]]


def test_the_t_net_starts_with_the_identity():
    torch.manual_seed(0)
    plain = PointNet(3, (8,)).eval()
    turned = PointNet(3, (8,), transform=True).eval()
    turned.load_state_dict(plain.state_dict(), strict=False)
    x = {"points": LINE, "mask": MASK}
    assert torch.equal(plain(x).pooled, turned(x).pooled)


def test_levels_need_one_number_each():
    with pytest.raises(ConfigError, match="need one number for each level"):
        PointNet2(3, num_centers=(8,), radii=(0.2, 0.4))


def test_a_map_counts_the_points_of_each_slice_and_averages_features():
    encoder = BirdsEyeView(4, lambda in_channels, image_size: Cnn(in_channels, (4,), (3,)), size=2, slices=2)
    points = torch.tensor([[-0.5, 0.5, 0.9, 1.0], [-0.5, 0.5, 0.8, 3.0], [0.5, -0.5, -0.5, 0.0], [7.0, 0, 0, 0]])
    picture = encoder.draw_map(points.T.unsqueeze(0), torch.ones(1, 4, dtype=torch.bool))[0]
    logs = torch.tensor([1.0, 2.0]).log1p() / torch.tensor(64.0).log()
    assert picture[0].tolist() == [[0, 0], [0, logs[0]]]
    assert picture[1].tolist() == [[logs[1], 0], [0, 0]]
    assert picture[2].flatten().tolist() == pytest.approx([torch.tensor(2.0).sigmoid().item(), 0, 0, 0.5])


def test_a_map_of_one_slice_ignores_height():
    torch.manual_seed(0)
    flat, x = build_map(slices=1), torch.rand(2, 3, 50) * 2 - 1
    mask = torch.ones(2, 50, dtype=torch.bool)
    raised = x * torch.tensor([1.0, 1.0, 0.3]).view(1, 3, 1)
    assert torch.equal(flat.draw_map(x, mask), flat.draw_map(raised, mask))
    assert not torch.equal(build_map().draw_map(x, mask), build_map().draw_map(raised, mask))
    with pytest.raises(ConfigError, match="give the lower one first"):
        build_map(heights=(1.0, -1.0))
