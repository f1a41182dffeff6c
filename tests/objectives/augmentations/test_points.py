import pytest
import torch

from mmrun.objectives.augmentations.points import AugmentPoints, rotate_about_vertical


def test_a_cloud_is_turned_about_its_vertical_axis():
    torch.manual_seed(0)
    points = torch.tensor([1.0, 0.0, 5.0]).view(1, 3, 1).expand(2000, 3, 1)
    turned = rotate_about_vertical(points, 90)
    assert torch.equal(turned[:, 2], points[:, 2])
    assert turned[:, :2].norm(dim=1).sub(1).abs().max() < 1e-6
    assert turned[:, 0].min() > -1e-6
    assert turned[:, 1].min().item() == pytest.approx(-1, abs=0.01)


def test_points_are_left_out_but_one_stays():
    torch.manual_seed(0)
    x = {"points": torch.ones(500, 4, 10), "mask": (torch.arange(10) < 6).expand(500, 10)}
    changed = AugmentPoints(drop=0.99)(x)
    counts = changed["mask"].sum(1)
    assert (counts.min(), counts.max()) == (1, 6)
    assert not changed["mask"][:, 6:].any()
    assert torch.equal(changed["points"][:, 3].bool(), changed["mask"])


def test_noise_is_on_coordinates_only():
    torch.manual_seed(0)
    x = {"points": torch.zeros(100, 4, 10), "mask": torch.ones(100, 10, dtype=torch.bool)}
    changed = AugmentPoints(jitter=0.02)(x)["points"]
    assert changed[:, :3].std().item() == pytest.approx(0.02, rel=0.1)
    assert not changed[:, 3].any()
