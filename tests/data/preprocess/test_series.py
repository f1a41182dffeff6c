"""Series: how much of them is read, and which axis is time."""

import numpy as np
import pytest

from mmrun.data.preprocess.series import Steps
from mmrun.data.preprocess.series_files import read_series
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError
from tests.data.preprocess.fitted import fitted


def fit(values, layout="channels_first", **arguments) -> Steps:
    steps = Steps(**arguments)
    steps.fit(Column("series", values, layout=layout), np.arange(len(values)))
    return steps


def test_the_length_is_that_of_the_training_rows():
    steps = fit([np.arange(300.0), np.arange(200.0)])
    assert steps.metadata == {"in_channels": 1, "num_steps": 300}
    assert steps.notes == ["1 channel; 300 steps are read: none of 2 rows is cut (the longest has 300 steps)"]
    assert fit([np.arange(5.0)]).num_steps == 128
    assert fit([np.arange(5000.0)]).notes == [
        "1 channel; the first 1024 steps are read: 100% of 1 rows are cut (the longest has 5000 steps); "
        "preprocess.num_steps sets another length"
    ]


def test_time_can_be_the_first_axis(tmp_path):
    values = np.stack([np.arange(10.0), 2 * np.arange(10.0), np.arange(10.0) ** 2])  # [channels, steps]
    np.save(tmp_path / "last.npy", values.T)
    first, last = fit([values]), fit([tmp_path / "last.npy"], layout="time_first")
    assert last.metadata == {"in_channels": 3, "num_steps": 128}
    assert (last.decode(tmp_path / "last.npy")["values"] == first.decode(values)["values"]).all()
    assert fit([[1, 2, 3]], layout="time_first").metadata["in_channels"] == 1  # one axis is always time
    assert first.state() != {**first.state(), "layout": "time_first"}  # which names the cached column


def test_series_of_the_other_layout_are_an_error():
    """Each length was a number of channels: the first row decided, and all others were bad."""
    values = [np.zeros((length, 3)) for length in (50, 37, 61, 50)]
    with pytest.raises(DataError) as error:
        fit(values)
    assert str(error.value) == (
        "row 0 has 50 channels and row 1 37, but both have 3 steps; if time is the other axis, set "
        "dataset.layout.NAME=time_first"
    )
    assert fit(values, layout="time_first").metadata["in_channels"] == 3


def test_more_channels_than_steps_are_noted():
    assert fit([np.zeros((100, 3))] * 2).notes[1] == (
        "100 channels of 3 steps (median): if time is the other axis, set dataset.layout.NAME=time_first"
    )
    assert len(fit([np.zeros((3, 100))]).notes) == 1


@pytest.mark.parametrize(
    ("shapes", "in_channels", "note"),
    [
        (
            [(188, 3), (120, 3), (99, 3)],
            3,
            "time is the first axis (all have 3 along the other axis, the channels); "
            "dataset.layout.NAME=channels_first reads the other one; dataset.kinds.NAME=points reads points",
        ),
        (
            [(3, 188), (3, 120)],
            3,
            "time is the second axis (all have 3 along the other axis, the channels); "
            "dataset.layout.NAME=time_first reads the other one",
        ),
        (
            [(50, 4), (50, 4)],
            4,
            "time is the first axis (the longer axis); dataset.layout.NAME=channels_first reads the other one; "
            "dataset.kinds.NAME=points reads points",
        ),
        (
            [(6, 6)],
            6,
            "time is the second axis (both are equally long, so this is a guess); "
            "dataset.layout.NAME=time_first reads the other one",
        ),
    ],
)
def test_the_axis_that_all_rows_share_is_that_of_the_channels(shapes, in_channels, note):
    steps = fit([np.zeros(shape) for shape in shapes], layout="auto")
    assert (steps.metadata["in_channels"], steps.notes[-1]) == (in_channels, note)


def test_one_odd_row_does_not_decide_about_the_axes():
    steps = fit([np.zeros((length, 3)) for length in range(30, 60)] + [np.zeros((40, 2))], layout="auto")
    assert steps.metadata["in_channels"] == 3


def test_series_that_share_no_axis_are_an_error():
    with pytest.raises(DataError) as error:
        fit([np.zeros((5, 7)), np.zeros((6, 8)), np.zeros((4, 9))], layout="auto")
    assert str(error.value) == (
        "row 0 is [5, 7] and row 1 [6, 8]: no axis has the same length in all rows, so none is that of the channels; "
        "set dataset.layout.NAME=time_first or channels_first, or give all rows the same channels"
    )


def test_a_series_with_one_axis_needs_no_choice():
    assert fit([[1, 2, 3], [1, 2]], layout="auto").notes == fit([[1, 2, 3], [1, 2]]).notes


def test_a_single_row_with_other_channels_is_a_bad_row():
    values = [np.zeros((1, 9)), np.zeros((2, 9)), np.zeros((2, 9))]
    steps = fit(values)
    assert steps.metadata["in_channels"] == 2  # not those of the first row
    with pytest.raises(DataError, match=r"^a series with 1 channels, but the training rows have 2$"):
        steps.decode(values[0])


def test_filled_gaps_are_said():
    steps = fit([[1.0, np.nan, 3.0], [1.0, 2.0, 3.0]])
    assert steps.notes[1] == "1 of 2 training rows have gaps (NaN or infinity), which become the mean"


def test_series_are_standardised_cut_and_padded(media):
    steps = fitted(Steps(10), "series", [media / "ramp.npy", None])
    decoded = steps.decode(media / "ramp.npy")
    assert steps.metadata == {"in_channels": 2, "num_steps": 10}
    np.testing.assert_allclose(decoded["values"].mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(decoded["values"].std(1), 1, atol=1e-6)
    short = steps.decode(np.array([[4.5, np.nan], [9.0, 9.0]]))
    assert (short["values"] == 0).all()  # the mean, and a gap
    assert short["mask"].tolist() == [True, True, *[False] * 8]
    assert fitted(Steps(3), "series", [[1, 2, 3, 400]]).decode([1, 2, 3, 400])["mask"].all()


def test_a_constant_channel_is_safe():
    steps = fitted(Steps(3), "series", [[0.1, 0.1, 0.1]])
    assert np.abs(steps.decode([0.1, 0.1, 0.1])["values"]).max() < 1e-6


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1, 2], [3, 4]], "a series with 2 channels, but the training rows have 1"),
        ([[1, 2], [3]], "the series is damaged or not a numeric array (ValueError)"),
        ([], "the series is float64 [0], but must be numbers [channels, steps] or [steps]"),
        (["a"], "the series is <U1 [1], but must be numbers [channels, steps] or [steps]"),
    ],
)
def test_unusable_series(value, message):
    steps = fitted(Steps(4), "series", [[1, 2, 3]])
    with pytest.raises(DataError) as error:
        steps.decode(value)
    assert str(error.value) == message


def test_no_pickle_is_ever_opened(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError) as error:
        fitted(Steps(4), "series", [[1, 2, 3]]).decode(tmp_path / "objects.npy")
    assert str(error.value) == "objects.npy is damaged or not a numeric array (ValueError)"


def test_rows_can_be_standardised_by_themselves():
    steps = fit([[1.0, 3.0], [100.0, 300.0], [5.0, 5.0]], num_steps=2, scale="row")
    assert steps.decode([100, 300])["values"].tolist() == [[-1.0, 1.0]]
    assert steps.decode([5, 5])["values"].tolist() == [[0.0, 0.0]]
    assert steps.notes[1] == "each row is standardised by itself"


def test_values_can_stay_in_their_unit():
    steps = fit([[1.0, 3.0], [100.0, 300.0]], num_steps=2, scale="none")
    assert steps.decode([100, 300])["values"].tolist() == [[100.0, 300.0]]
    assert steps.notes[1] == "values are not standardised"


def test_every_row_can_be_resampled_to_one_length():
    steps = fit([[0.0, 2.0, 4.0], [0.0, 4.0]], resample=5, scale="none")
    assert steps.notes[0] == "1 channel; every row is resampled to 5 steps, from 2 to 3"
    for series in ([0, 2, 4], [0, 4]):
        decoded = steps.decode(series)
        assert decoded["values"].tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]]
        assert decoded["mask"].all()


def test_resampled_rows_have_no_other_length():
    with pytest.raises(ConfigError) as error:
        Steps(num_steps=10, resample=5)
    assert str(error.value) == "preprocess.resample: cannot be combined with num_steps; set num_steps=auto"


def test_null_is_a_gap_but_not_a_series():
    assert np.isnan(read_series([1.0, None])).tolist() == [[False, True]]
    with pytest.raises(
        DataError, match=r"^the series is null at every step; leave the cell empty where there is none$"
    ):
        read_series([None, None])
