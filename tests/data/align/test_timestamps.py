import numpy as np
import pytest

from mmrun.data.align.timestamps import check_ascending, parse_name, parse_time
from mmrun.errors import DataError


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("12.5", 12.5),
        (-3, -3.0),
        ("1531883530", 1531883530.0),
        ("1531883530449", 1531883530.449),
        (1531883530449377, 1531883530.449377),
        ("1403636579763555584", 1403636579.7635555),
        ("1970-01-02 00:00:00.5", 86400.5),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("2011-09-26 13:02:25.594360375", 1317042145.59436),
        ("NA", None),
        (None, None),
    ],
)
def test_times_in_seconds_other_units_since_1970_and_dates(cell, seconds):
    assert parse_time(cell) == seconds


@pytest.mark.parametrize("cell", ["noon", True, "1_000", "12:30", [1.0], "9" * 400, "2024-13-01"])
def test_what_is_no_time_is_an_error(cell):
    with pytest.raises(DataError) as error:
        parse_time(cell)
    assert str(error.value) == f"'{cell}' is not a time; write seconds, or 2024-01-31 10:00:00.5"


@pytest.mark.parametrize(
    ("stem", "seconds"),
    [
        ("1305031452.175304", 1305031452.175304),
        ("n015-2018-07-18-11-07-57+0800__LIDAR_TOP__1531883530449377.pcd", 1531883530.449377),
        ("scan_3.25", 3.25),
        ("frame_0012", None),
        ("20180718", None),
    ],
)
def test_time_stamps_in_names(stem, seconds):
    assert parse_name(stem) == seconds


def test_a_clock_in_microseconds_becomes_one_in_seconds():
    stamps = np.array([1531883530000000, 1531883530500000])
    assert check_ascending(stamps, "lidar").tolist() == [1531883530.0, 1531883530.5]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0, 2.0, 1.0], "a.csv: time stamp 3 is 1, but the one before it 2; they have to be numbers that ascend"),
        ([0.0, np.nan], "a.csv: time stamp 2 is nan; they have to be numbers that ascend"),
        ([-np.inf, 1.0], "a.csv: time stamp 1 is -inf; they have to be numbers that ascend"),
    ],
)
def test_time_stamps_that_do_not_ascend(times, message):
    with pytest.raises(DataError) as error:
        check_ascending(np.array(times), "a.csv")
    assert str(error.value) == message
