"""Camera, lidar and radar, from a folder in KITTI's layout to predictions, explanations and an exported model."""

import csv

import pytest

from mmrun.testing.driving import write_driving
from tests.end_to_end.conftest import metrics

COLUMNS = [f"dataset.columns.{name}={name}" for name in ("image", "lidar", "radar")]
SMALL = [
    "encoder.image=lenet",
    "encoder.lidar.preprocess.num_points=64",
    "budget.steps=4",
    "trainer.batch_size=16",
]


@pytest.fixture
def run(shell):
    write_driving(shell.folder / "drive", 48)
    code, _, err = shell("data", "prepare", "kitti", "--source", "drive", "-o", "drive.csv")
    assert code == 0, err
    dataset = ["dataset=drive.csv", "dataset.root=drive", "dataset.target=objects", "dataset.task=classification"]

    def train(*words):
        code, _, err = shell("train", *dataset, *COLUMNS, *SMALL, *words)
        assert code == 0, err
        return next(shell.folder.glob("outputs/*/*")), err

    return train


def test_a_run_of_camera_lidar_and_radar_leaves_its_folder(shell, run):
    folder, notes = run("strategy=component", "augment=strong")
    assert "note: radar: x, y, z, velocity; 24 points in a training row" in notes
    assert "note: lidar: 64 points are drawn at random: 100% of 38 rows have more" in notes
    assert metrics(folder)["choices"]["encoder.lidar"] == "pointnet"
    for words in (
        ["eval", str(folder)],
        ["predict", str(folder), "drive.csv", "--root", "drive", "-o", "predicted.csv"],
        ["explain", str(folder), "drive.csv", "--root", "drive", "--rows", "1"],
        ["export", str(folder), "-o", "exported"],
    ):
        code, _, err = shell(*words)
        assert code == 0, err
    with open(shell.folder / "predicted.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 48


def test_other_encoders_are_chosen_on_the_shell(run):
    folder, _ = run("encoder.lidar=pointnet2", "encoder.radar=bev")
    assert metrics(folder)["choices"]["encoder.radar"] == "bev"
