"""Point clouds as encoders read them."""

import numpy as np
import pytest

from mmrun.data.preprocess.points import Points, draw_map
from mmrun.errors import ConfigError, DataError
from tests.data.preprocess.fitted import fitted

CORNERS = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [2, 2, 0]], dtype=np.float64)
LARGE = np.random.default_rng(0).normal(size=(500, 4))


def test_a_scene_is_moved_to_its_mean_and_divided_by_its_radius():
    points = fitted(Points(5), "points", [CORNERS])
    decoded = points.decode(CORNERS * 10 + 70)
    corner = 0.5**0.5
    expected = [[-corner, corner, -corner, corner, 0], [-corner, -corner, corner, corner, 0], [0, 0, 0, 0, 0]]
    assert decoded["points"] == pytest.approx(np.array(expected), abs=1e-6)
    assert decoded["mask"].tolist() == [True, True, True, True, False]


def test_one_radius_for_all_scenes_keeps_the_place_of_the_sensor():
    points = fitted(Points(4, scale="training"), "points", [CORNERS * 10, CORNERS])
    assert points.radius == pytest.approx(28.28, abs=0.5)
    assert points.decode(CORNERS)["points"][0] == pytest.approx(np.array([0, 2, 0, 2]) / points.radius)
    assert "coordinates are divided by 28.04, the radius of the training rows" in points.notes


def test_the_scale_of_a_scene_is_a_feature_where_asked():
    points = fitted(Points(4, keep_scale=True), "points", [CORNERS, CORNERS * 10])
    assert points.metadata == {"in_channels": 4, "num_points": 4}
    assert points.decode(CORNERS)["points"][3].tolist() == pytest.approx([-1] * 4)
    assert points.decode(CORNERS * 10)["points"][3].tolist() == pytest.approx([1] * 4)
    with pytest.raises(ConfigError, match="keeps the scale of scenes anyway"):
        Points(scale="training", keep_scale=True)


def test_features_are_standardised_by_the_training_rows():
    values = [np.column_stack([CORNERS, [1, 1, 3, 3], [7, 7, 7, 7]]), np.column_stack([CORNERS, [3, 3, 5, 5], [7] * 4])]
    points = fitted(Points(4), "points", values)
    assert points.decode(values[1])["points"][3].tolist() == pytest.approx([0, 0, 2**0.5, 2**0.5])
    assert not points.decode(values[1])["points"][4].any()  # it is constant


def test_the_same_points_are_drawn_whenever_a_cloud_is_read():
    points = fitted(Points(100), "points", [LARGE, LARGE + 1])
    first, second = points.decode(LARGE)["points"], points.decode(LARGE.copy())["points"]
    assert (first == second).all()
    assert len(np.unique(first[0])) == 100
    assert not np.isin(first[0], points.decode(LARGE[::-1])["points"][0]).all()  # another file draws others
    assert points.notes[1] == "100 points are drawn at random: 100% of 2 rows have more"


def test_auto_reads_the_training_rows_whole_within_its_range():
    assert fitted(Points(), "points", [LARGE[:40], LARGE[:50]]).num_points == 50
    assert fitted(Points(), "points", [LARGE[:3]]).num_points == 32
    assert fitted(Points(auto_range=(16, 64)), "points", [LARGE]).num_points == 64


def test_notes_say_what_is_read_and_what_is_left_out():
    gaps = LARGE[:60].copy()
    gaps[:7, 1] = np.nan
    points = fitted(Points(), "points", [gaps, LARGE[:40], None])
    assert points.notes == [
        "x, y, z, feature_4; 40 to 53 points in a training row",
        "7 of 100 points are left out: a number is NaN or infinite",
    ]


def test_a_note_says_that_arrays_in_files_may_be_series(tmp_path):
    np.save(tmp_path / "a.npy", CORNERS)
    notes = fitted(Points(), "points", [tmp_path / "a.npy", None]).notes
    assert notes[-1] == "the .npy files are read as points; dataset.kinds.NAME=series reads them as series"


def test_other_columns_than_those_of_the_training_rows_are_refused():
    with pytest.raises(DataError, match=r"points of x, y, z, but those of the training rows are x, y, z, feature_4"):
        fitted(Points(), "points", [LARGE, LARGE, CORNERS]).decode(CORNERS)


def test_points_in_one_place_stay_finite():
    decoded = fitted(Points(4, keep_scale=True), "points", [np.ones((3, 3))]).decode(np.ones((3, 3)))
    assert not decoded["points"].any()


def test_a_map_from_above_has_its_second_coordinate_upwards():
    assert draw_map(CORNERS[[0, 0, 0, 3]], 2) == pytest.approx(np.array([[0, 0.5], [1, 0]]))
