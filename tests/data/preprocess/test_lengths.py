"""How long texts, sounds and series may be: chosen from the training rows."""

import numpy as np
import pytest

from mmrun.data.preprocess.lengths import choose_length, describe_cut, format_share
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate


def test_99_percent_of_the_training_rows_are_kept_whole():
    lengths = np.arange(1.0, 201.0)
    rows = np.arange(100)  # of lengths 1 to 100
    assert choose_length(lengths, rows, (1, 1000)) == 100
    assert choose_length(lengths, np.arange(199), (1, 1000)) == 198
    assert choose_length(lengths, rows, (128, 1000)) == 128
    assert choose_length(lengths, rows, (1, 64)) == 64


def test_rows_that_cannot_be_read_do_not_count():
    lengths = np.array([np.nan, 5.0, np.nan])
    assert choose_length(lengths, np.arange(3), (1, 9)) == 5
    assert choose_length(lengths, np.array([0, 2]), (2, 9)) == 2
    assert describe_cut(np.full(3, np.nan), 4, "steps", "num_steps") == "the first 4 steps are read"


def test_what_is_cut_is_said():
    lengths = np.array([np.nan, 1.5, 3.0, 8.0, 9.0])
    assert describe_cut(lengths, 9.0, "s", "seconds") == "9 s are read: none of 4 rows is cut (the longest has 9 s)"
    assert describe_cut(lengths, 3, "s", "seconds") == (
        "the first 3 s are read: 50.0% of 4 rows are cut (the longest has 9 s); preprocess.seconds sets another length"
    )


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0%"), (1e-6, "0.1%"), (0.25, "25.0%"), (0.99999, "99.9%"), (1.0, "100%")]
)
def test_a_few_are_not_none(share, text):
    assert format_share(share) == text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"seconds": "long"},
            "encoder.x.preprocess.seconds: 'long' is not a number above 0 and up to 3600 or auto",
        ),
        (
            {"seconds": -1},
            "encoder.x.preprocess.seconds: -1 is not a number above 0 and up to 3600 or auto",
        ),
        (
            {"auto_range": [5, 1]},
            "encoder.x.preprocess.auto_range: [5.0, 1.0] is empty; give the shortest length first",
        ),
    ],
)
def test_no_length(values, message):
    node = {"_target_": "mmrun.data.preprocess.audio.Waveform", "sample_rate": 8000, **values}
    with pytest.raises(ConfigError) as error:
        instantiate(node, "encoder.x.preprocess")
    assert str(error.value) == message
