"""Point clouds in files: what is read of each format, and what is refused before memory is taken."""

import numpy as np
import pytest

from mmrun.data import limits
from mmrun.data.preprocess.point_files import read_cloud
from mmrun.errors import DataError

POINTS = np.array([[1, 2, 3, 0.5], [-4, 5, -6, 0.25]], dtype="<f4")
TEXT = b"1 2 3 0.5\n-4 5 -6 0.25\n"
PLY = (
    "ply\nformat {}\ncomment made by hand\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
    "property float intensity\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
)
PCD = (
    "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH 2\nHEIGHT 1\n"
    "VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 2\nDATA {}\n"
)


def write(folder, name, header, content=b""):
    path = folder / name
    path.write_bytes(header.encode() + content)
    return path


def error_of(path):
    with pytest.raises(DataError) as error:
        read_cloud(path)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "header", "content"),
    [
        ("a.bin", "", POINTS.tobytes()),
        ("a.ply", PLY.format("ascii 1.0"), TEXT + b"3 0 1 1\n"),
        ("a.ply", PLY.format("binary_little_endian 1.0"), POINTS.tobytes() + b"\3"),
        ("a.ply", PLY.format("binary_little_endian 1.0").replace("\n", "\r\n"), POINTS.tobytes()),
        ("a.ply", PLY.format("binary_big_endian 1.0"), POINTS.astype(">f4").tobytes()),
        ("A.PCD", PCD.format("ascii"), TEXT.rstrip()),
        ("a.pcd", PCD.format("binary"), POINTS.tobytes()),
        ("a.pcd", PCD.format("binary").replace("POINTS 2\n", "").replace("COUNT 1 1 1 1\n", ""), POINTS.tobytes()),
    ],
)
def test_every_format_gives_the_same_points(tmp_path, name, header, content):
    cloud = read_cloud(write(tmp_path, name, header, content))
    assert cloud.names == ("x", "y", "z", "intensity")
    assert cloud.points.tolist() == POINTS.tolist()
    assert cloud.points.dtype == np.float32


def test_nuscenes_has_five_numbers_a_point(tmp_path):
    path = write(tmp_path, "a.pcd.bin", "", np.arange(10, dtype="<f4").tobytes())
    assert read_cloud(path).names == ("x", "y", "z", "intensity", "ring")


def test_an_array_has_features_without_names(tmp_path):
    np.save(tmp_path / "a.npy", POINTS)
    assert read_cloud(tmp_path / "a.npy").names == ("x", "y", "z", "feature_4")
    assert read_cloud(POINTS[:, :3].astype(np.int64)).points.tolist() == POINTS[:, :3].astype(int).tolist()


def test_columns_are_put_in_order_and_padding_is_left_out(tmp_path):
    header = PCD.format("ascii").replace("x y z intensity", "z x _ y").replace("COUNT 1 1 1 1", "COUNT 1 1 2 1")
    cloud = read_cloud(write(tmp_path, "a.pcd", header, b"3 1 0 0 2\n6 4 0 0 5\n"))
    assert (cloud.names, cloud.points.tolist()) == (("x", "y", "z"), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(("letter", "packed"), [("F", "<f4"), ("U", "<u4")])
def test_packed_colours_become_three_features(tmp_path, letter, packed):
    header = PCD.format("binary").replace("intensity", "rgb").replace("F F F F", f"F F F {letter}")
    records = np.zeros(2, dtype=[("xyz", "<f4", 3), ("rgb", packed)])
    records["rgb"] = np.array([0x00FF8001, 0x000000FF], dtype="<u4").view(packed)
    cloud = read_cloud(write(tmp_path, "a.pcd", header, records.tobytes()))
    assert cloud.names == ("x", "y", "z", "red", "green", "blue")
    assert cloud.points[:, 3:].tolist() == [[255, 128, 1], [0, 0, 255]]


def test_points_that_are_not_finite_are_left_out_and_counted():
    cloud = read_cloud(np.array([[1, 2, 3], [np.nan, 0, 0], [0, np.inf, 0], [0, 0, 1e300]]))
    assert (cloud.points.tolist(), cloud.num_dropped) == ([[1, 2, 3]], 3)
    assert "has no point whose coordinates and features are all finite" in error_of(np.full((2, 3), np.nan))


@pytest.mark.parametrize(
    ("name", "header", "content", "message"),
    [
        ("a.bin", "", b"123456789", "has 9 bytes, which is no multiple of 16: a point of a .bin file is 4 numbers"),
        (
            "a.pcd",
            PCD.format("binary_compressed"),
            b"",
            "of the format 'binary_compressed', which is not read; save it",
        ),
        ("a.pcd", PCD.format("binary"), POINTS.tobytes()[:-1], "claims 2 points, but ends before them"),
        ("a.pcd", PCD.format("ascii"), b"1 2 3 4\n", "claims 2 points, but has 1"),
        ("a.pcd", PCD.format("ascii"), b"1 2 3 4\n1 2 3\n", "a line of its points is not 4 numbers"),
        ("a.pcd", PCD.format("ascii"), b"1 2 3 4\n1 2 3 four\n", "a line of its points is not 4 numbers"),
        ("a.pcd", PCD.format("ascii").replace("POINTS 2", "POINTS -2"), TEXT, "POINTS is '-2', not a count"),
        ("a.pcd", PCD.format("ascii").replace("x y z i", "x y w i"), TEXT, "has no z: its columns are x, y, w"),
        ("a.pcd", PCD.format("ascii").replace("x y z i", "x y x i"), TEXT, "has two columns of one name"),
        ("a.pcd", PCD.format("binary").replace("SIZE 4", "SIZE 3"), TEXT, "of TYPE F and SIZE 3 does not exist"),
        ("a.pcd", PCD.format("binary").replace("SIZE 4", "SIZE"), TEXT, "FIELDS, SIZE, TYPE and COUNT"),
        ("a.pcd", "VERSION 0.7\n", b"", "has no header that ends with 'data' in its first 64 KiB"),
        ("a.ply", "", b"solid", "does not start with 'ply'"),
        ("a.ply", "ply\n" + "comment\n" * 9999, b"", "has no header that ends with 'end_header' in its first 64 KiB"),
        ("a.ply", PLY.format("binary_middle_endian 1.0"), b"", "'binary_middle_endian' is no format of PLY"),
        ("a.ply", PLY.format("ascii 1.0").replace("property float z", "property list uchar int z"), b"", "has lists"),
        ("a.ply", PLY.format("ascii 1.0").replace("property float z", "property string z"), b"", "'string' is no type"),
        (
            "a.ply",
            PLY.format("ascii 1.0").replace("element vertex 2", "element mesh 2"),
            b"",
            "its first element is mesh",
        ),
        ("a.ply", PLY.format("ascii 1.0").replace("vertex 2", "vertex 0"), b"", "has no points"),
        ("a.npy", "", b"junk", "is damaged or not a numeric array"),
    ],
)
def test_damage_is_one_line(tmp_path, name, header, content, message):
    text = error_of(write(tmp_path, name, header, content))
    assert message in text
    assert text.startswith(name)
    assert "\n" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("POINTS 2", "POINTS 99999999999"), "claims 99,999,999,999 points of 4 numbers; more than 134 million"),
        (("POINTS 2", "POINTS 33000000"), "claims 33,000,000 points, but"),
        (("COUNT 1 1 1 1", "COUNT 1 1 1 999999999999"), "has 1,000,000,000,002 numbers a point; at most 32 are read"),
        (("WIDTH 2", "WIDTH " + "9" * 50), "claims 2 points"),
    ],
)
@pytest.mark.parametrize("data_format", ["ascii", "binary"])
def test_what_a_header_claims_takes_no_memory(tmp_path, change, message, data_format):
    assert message in error_of(write(tmp_path, "a.pcd", PCD.format(data_format).replace(*change), b"1 2 3"))


def test_arrays_of_another_shape_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", POINTS.T.repeat(20, axis=1))
    assert error_of(tmp_path / "a.npy").endswith("but must be numbers [points, 3 or more]: x, y, z ...; transpose it")
    for shape in ((4,), (4, 2), (2, 3, 3), (0, 3)):
        assert "must be numbers" in error_of(np.zeros(shape)) or "no points" in error_of(np.zeros(shape))
    assert "must be numbers" in error_of(np.full((2, 3), "1"))


def test_long_texts_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_POINT_TEXT", 10)
    assert "save it as binary" in error_of(write(tmp_path, "a.pcd", PCD.format("ascii"), TEXT))
