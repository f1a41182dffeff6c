"""Pretexts that identify two views of a row: SimCLR, COLA, SCARF."""

import math

import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.objectives.contrastive_audio import ContrastiveAudio
from mmrun.objectives.scarf import Scarf
from mmrun.objectives.simclr import SimClr, nt_xent
from mmrun.types import Features

EYE = torch.eye(2)
BOTH = torch.tensor([True, True])


# ---- SimCLR


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


# ---- COLA


def test_segments_are_pieces_of_the_clip_moved_to_the_front():
    steps = torch.arange(1.0, 101.0).repeat(200, 1)
    length = torch.tensor([100, 40] * 100)
    waveform = steps.where(steps <= length.unsqueeze(1), 0)
    views, _ = ContrastiveAudio(8, share=0.25).corrupt({"waveform": waveform, "length": length}, torch.ones(200) > 0)
    assert views["length"].tolist() == [25, 10] * 200
    begins = views["waveform"][:, 0]
    for row, begin, end in zip(views["waveform"], begins, views["length"], strict=True):
        assert torch.equal(row[:end], begin + torch.arange(end))
        assert not row[end:].any()
    longer = begins[::2]
    assert (longer.min().item(), longer.max().item()) == (1.0, 76.0)  # from the clip's first sample to its last


def test_the_bilinear_similarity_is_compared_with_that_to_other_clips():
    pretext = ContrastiveAudio(2, projection_dim=2)
    pretext.project = nn.Identity()
    with torch.no_grad():
        pretext.bilinear.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    loss = pretext.loss(Features(torch.cat([EYE, EYE])), BOTH)  # similarities [[2, 0], [0, 1]]
    assert loss.tolist() == pytest.approx([math.log1p(math.exp(-2)), math.log1p(math.exp(-1))])


# ---- SCARF


def build_cells(rows=300):
    torch.manual_seed(0)
    number = torch.arange(1.0, rows + 1)
    numeric = torch.stack([number, -number, number + 1000], 1)
    missing = torch.zeros(rows, 3, dtype=torch.bool)
    missing[::2, 1] = True
    return {
        "numeric": numeric.masked_fill(missing, 0),
        "missing": missing,
        "categorical": torch.stack([torch.arange(rows) % 7 + 1, torch.arange(rows) % 3 + 1], 1),
    }


def test_a_spoiled_cell_takes_the_value_of_its_column_in_another_row():
    x = build_cells()
    views, _ = Scarf(8, ratio=0.6).corrupt(x, torch.ones(300, dtype=torch.bool))
    for name, part in x.items():
        assert torch.equal(views[name][:300], part)  # the first view is the row itself
    copy = {name: part[300:] for name, part in views.items()}
    spoiled = copy["numeric"] != x["numeric"]
    assert spoiled[:, [0, 2]].float().mean().item() == pytest.approx(0.6, abs=0.05)
    for column in range(3):
        assert set(copy["numeric"][:, column].tolist()) <= set(x["numeric"][:, column].tolist())
    assert torch.equal(copy["missing"][:, 1], copy["numeric"][:, 1] == 0)  # a gap moves with its value
    changed = (copy["categorical"][:, 0] != x["categorical"][:, 0]).float().mean().item()
    assert changed == pytest.approx(0.6 * 6 / 7, abs=0.06)


def test_no_value_comes_from_a_row_that_is_not_there():
    x = build_cells()
    present = torch.arange(300) < 5
    views, _ = Scarf(8, ratio=1.0).corrupt(x, present)
    assert views["numeric"][300:, 0].max().item() == 5.0
    assert sorted(views["numeric"][300:305, 0].tolist()) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_row_finds_its_copy():
    pretext = Scarf(2)
    pretext.project = nn.Identity()
    loss = pretext.loss(Features(torch.cat([EYE, 5 * EYE])), BOTH)
    assert loss.tolist() == pytest.approx([math.log1p(math.exp(-1))] * 2)
