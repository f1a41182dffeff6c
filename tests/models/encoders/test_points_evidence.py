"""Encoders that read height tell what looks the same from above."""

import numpy as np
import pytest
import torch
from torch import nn

from mmrun.data.preprocess.points import Points
from mmrun.data.table import Column
from mmrun.models.encoders.image import Cnn
from mmrun.models.encoders.points import BirdsEyeView, PointNet, PointNet2
from mmrun.testing.driving import draw_scan

LABELS = torch.arange(200) % 2


@pytest.fixture(scope="module")
def scans():
    """Return scans of solid and hollow objects for training and for test, as encoders read them."""
    generator = np.random.default_rng(0)
    drawn = [draw_scan(generator, bool(label)) for label in LABELS.repeat(2)]
    points = Points(128)
    points.fit(Column("points", drawn), np.arange(200))
    decoded = [points.decode(scan) for scan in drawn]
    parts = {name: torch.from_numpy(np.stack([scan[name] for scan in decoded])) for name in ("points", "mask")}
    return [{name: part[rows] for name, part in parts.items()} for rows in (slice(200), slice(200, 400))]


def measure_accuracy(encoder, scans, steps=80):
    """Train an encoder with a linear head, and return its accuracy on the test scans."""
    training, test = scans
    head = nn.Linear(encoder.dim, 2)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], 3e-3)
    for _ in range(steps):
        rows = torch.randint(0, 200, (32,))
        logits = head(encoder({name: part[rows] for name, part in training.items()}).pooled)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, LABELS[rows]).backward()
        optimizer.step()
    encoder.eval()
    with torch.no_grad():
        return (head(encoder(test).pooled).argmax(1) == LABELS).float().mean().item()


@pytest.mark.parametrize(
    "build",
    [
        lambda: PointNet(4, (32, 64), transform=True),
        lambda: PointNet2(4, (32, 8), (0.3, 0.6), (16, 8), (32, 32), 64),
    ],
)
def test_point_encoders_tell_solid_from_hollow_objects(build, scans):
    torch.manual_seed(0)
    assert measure_accuracy(build(), scans) >= 0.95


def test_a_map_without_height_does_not(scans):
    torch.manual_seed(0)
    encoder = BirdsEyeView(4, lambda in_channels, image_size: Cnn(in_channels, (16, 32), (3, 3)), size=16, slices=1)
    assert measure_accuracy(encoder, scans) <= 0.6
