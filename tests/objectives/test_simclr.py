"""SimCLR: the loss by hand, and its views."""

import math

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.objectives.simclr import SimClr, nt_xent

EYE = torch.eye(2)
BOTH = torch.tensor([True, True])


def test_nt_xent_of_two_rows_at_right_angles():
    loss = nt_xent(EYE, 3 * EYE, BOTH, temperature=1.0)  # lengths do not count
    assert loss.tolist() == pytest.approx([math.log(1 + 2 / math.e)] * 2)  # one positive, two views of the other row


def test_nt_xent_of_rows_that_are_all_alike():
    alike = torch.ones(5, 3)
    assert nt_xent(alike, alike, torch.ones(5, dtype=torch.bool), 0.1).tolist() == pytest.approx([math.log(9)] * 5)


def test_nt_xent_counts_both_directions():
    first, second = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    e = math.e
    rows = [
        (math.log((2 * e + 1) / e) + math.log((2 * e + 1) / e)) / 2,  # both see themselves, a copy, and a right angle
        (math.log(3) + math.log(2 * e + 1)) / 2,  # all at right angles; two copies and the other half at right angles
    ]
    assert nt_xent(first, second, BOTH, 1.0).tolist() == pytest.approx(rows)


def test_a_row_that_is_not_there_is_found_by_no_other():
    torch.manual_seed(0)
    first, second = torch.randn(2, 4, 3)
    present = torch.tensor([True, True, True, False])
    expected = nt_xent(first[:3], second[:3], present[:3], 0.5)
    assert nt_xent(first, second, present, 0.5)[:3].tolist() == pytest.approx(expected.tolist())


def test_views_differ_from_each_other_and_stay_pictures():
    torch.manual_seed(0)
    x = torch.rand(4, 3, 16, 16)
    views, present = SimClr(8).corrupt(x, torch.ones(4, dtype=torch.bool))
    assert views.shape == (8, 3, 16, 16)
    assert present.tolist() == [True] * 4
    assert views.min() >= 0
    assert views.max() <= 1
    for row in range(4):
        assert (views[row] - views[4 + row]).abs().mean() > 0.02


def test_a_mirrored_view():
    x = torch.rand(4, 1, 16, 16)
    plain, mirrored = (SimClr(8, flip=flip, jitter=0.0) for flip in (0.0, 1.0))
    views = []
    for pretext in (plain, mirrored):
        torch.manual_seed(0)
        views.append(pretext.draw_view(x))
    assert torch.allclose(views[0], views[1].flip(3), atol=1e-5)


def test_a_view_shows_the_share_of_the_picture_that_it_says():
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 64).expand(500, 1, 64, 64)
    view = SimClr(8, crop=0.25, flip=0.0, jitter=0.0).draw_view(ramp)
    width = (view[:, 0, 0, -1] - view[:, 0, 0, 0]).clamp(max=1)
    assert width.min() > (0.25 * 3 / 4) ** 0.5 - 0.05
    assert view[:, 0, 0, 0].min() < 0.05
    assert view[:, 0, 0, -1].max() > 0.95


def test_a_grey_view_has_equal_channels():
    view = SimClr(8, gray=1.0).draw_view(torch.rand(4, 3, 8, 8))
    assert torch.allclose(view[:, 0], view[:, 1], atol=1e-6)
    assert torch.allclose(view[:, 1], view[:, 2], atol=1e-6)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("crop", 0.0, "0.0 is not above 0"),
        ("flip", 2.0, "2.0 is not between 0 and 1"),
        ("temperature", -1.0, "-1.0 is not above 0"),
    ],
)
def test_wrong_values_are_refused(key, value, message):
    with pytest.raises(ConfigError) as caught:
        SimClr(8, **{key: value})
    assert str(caught.value) == f"objective.by_kind.image.{key}: {message}"
