"""KITTI: the rows of a tiny folder of its layout, and what is wrong with others."""

import shutil

import pytest

from mmrun.data.benchmarks.catalog import BENCHMARKS
from mmrun.data.benchmarks.kitti import TYPES
from mmrun.data.benchmarks.source import Source
from mmrun.data.preprocess.point_files import read_cloud
from mmrun.errors import DataError
from mmrun.testing.driving import write_driving
from tests.data.benchmarks.layouts import prepare, write_text


def test_rows(tmp_path):
    rows = prepare("kitti", tmp_path).rows
    assert len(rows) == 12
    assert rows[1] == {
        "id": "000001",
        "image": "training/image_2/000001.png",
        "lidar": "training/velodyne/000001.bin",
        "calib": "training/calib/000001.txt",
        "objects": "Car|Cyclist",
        "boxes": '[{"type": "Car", "box": [587.01, 173.33, 614.12, 200.12]}, '
        '{"type": "Car", "box": [587.01, 173.33, 614.12, 200.12]}, '
        '{"type": "Cyclist", "box": [665.45, 160.0, 717.93, 217.99]}]',
        "cars": 2,
        "pedestrians": 0,
        "cyclists": 1,
        "drive": "2011_09_26_drive_0005_sync",
    }
    assert (rows[2]["objects"], rows[2]["drive"]) == ("|", "2011_09_26_drive_0004_sync")


def test_without_the_mapping_a_note_warns_of_frames_of_one_drive(tmp_path):
    prepared = prepare("kitti", tmp_path, lambda folder: shutil.rmtree(folder / "mapping"))
    assert "drive" not in prepared.rows[0]
    assert "frames of one drive may be in training and test rows" in prepared.source.notes[0]


def test_without_scans_the_column_is_left_out(tmp_path):
    prepared = prepare("kitti", tmp_path, lambda folder: shutil.rmtree(folder / "training" / "velodyne"))
    assert "lidar" not in prepared.rows[0]
    assert prepared.source.notes == ["training/velodyne is not there, so the manifest has no column lidar"]


def test_radar_of_a_data_set_in_this_layout_is_read(tmp_path):
    write_driving(tmp_path, 8)
    rows = list(BENCHMARKS["kitti"].read_rows(Source(tmp_path, "KITTI")))
    assert [row["objects"] for row in rows] == list(TYPES)
    assert rows[1]["radar"] == "training/radar/000001.pcd"
    assert read_cloud(tmp_path / rows[1]["radar"]).names == ("x", "y", "z", "velocity")


def test_the_usual_split_is_read(tmp_path):
    def add(folder):
        write_text(folder / "ImageSets" / "train.txt", "000000\n000002\n")
        write_text(folder / "ImageSets" / "val.txt", "000001\n")

    assert [row["split"] for row in prepare("kitti", tmp_path, add).rows[:3]] == ["train", "test", "train"]


def test_a_damaged_label_names_its_line(tmp_path):
    def damage(folder):
        write_text(folder / "training" / "label_2" / "000003.txt", "\nCar 0.00 0\n")

    with pytest.raises(DataError, match=r"label_2/000003.txt:2: is not a label of KITTI, a type and 14 numbers"):
        prepare("kitti", tmp_path, damage)
